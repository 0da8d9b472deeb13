"""The studio as one value: what every page and route needs, built once by `webapp.app`."""

from dataclasses import dataclass
from typing import cast

from celery import Celery
from starlette.requests import HTTPConnection

from inference.storage import Storage
from licensing.db import Database
from webapp.settings import Settings


@dataclass(frozen=True)
class Studio:
    """Settings and the three places that work goes to: rows, files, queue."""

    settings: Settings
    database: Database
    storage: Storage
    celery: Celery


def studio_of(request: HTTPConnection) -> Studio:
    """Return the studio behind one of our own routes (not behind a mounted page)."""
    return cast("Studio", request.app.state.studio)
