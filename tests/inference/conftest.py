"""The desk: one funded organisation with one seated creator; and a worker with fake tools."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_tools import fake_tools
from jobs import Desk, open_desk

from inference.process import WorkerProcess
from inference.settings import Settings
from licensing.db import Database


@pytest.fixture
def desk(database: Database) -> Desk:
    return open_desk(database)


@pytest.fixture
def process(database_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    settings = Settings(
        database_url=database_url,
        broker_url="redis://unused",
        state_folder=tmp_path,
        weights_folder=tmp_path / "weights",
        worker_classes=("pocket",),
    )
    process = WorkerProcess(settings, fake_tools)
    process.begin()
    yield process
    process.end()
