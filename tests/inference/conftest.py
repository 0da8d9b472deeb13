"""The desk: one funded organisation with one seated creator."""

import pytest
from jobs import Desk, open_desk

from licensing.db import Database


@pytest.fixture
def desk(database: Database) -> Desk:
    return open_desk(database)
