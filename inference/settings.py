"""The worker's settings, read from the environment once at start.

Nothing in here turns a filter off: content filters are a condition of the model's licence.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference import models

_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """What one worker needs to know; frozen, and passed on instead of imported."""

    database_url: str
    broker_url: str
    state_folder: Path  # pictures lie in state_folder / "pictures"
    weights_folder: Path
    worker_classes: tuple[str, ...]  # which queues this worker serves

    @property
    def pictures_folder(self) -> Path:
        """The root of the picture storage."""
        return self.state_folder / "pictures"

    @property
    def papers_folder(self) -> Path:
        """The studio's watermark key and certificate; the same for every worker of a studio."""
        return papers_folder(self.state_folder)


def papers_folder(state_folder: Path) -> Path:
    """Where a studio keeps what it marks and signs with."""
    return state_folder / "papers"


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read DATABASE_URL, BROKER_URL, ATELIER_STATE, ATELIER_WEIGHTS and ATELIER_WORKER_CLASSES.

    Without ATELIER_WORKER_CLASSES (names with commas between them) the worker serves the classes
    of which this machine can run a model. Raises `KeyError` if either URL is missing.
    """
    weights = Path(environment.get("ATELIER_WEIGHTS", _REPOSITORY / "weights"))
    named = environment.get("ATELIER_WORKER_CLASSES", "")
    chosen = tuple(name.strip() for name in named.split(",") if name.strip())
    return Settings(
        database_url=environment["DATABASE_URL"],
        broker_url=environment["BROKER_URL"],
        state_folder=Path(environment.get("ATELIER_STATE", ".atelier")),
        weights_folder=weights,
        worker_classes=chosen or runnable_classes(weights),
    )


def runnable_classes(weights_folder: Path) -> tuple[str, ...]:
    """Return the worker classes of which this machine can run at least one model.

    The pocket class is always served: without its weights a job must fail with a clear sentence
    instead of waiting for ever.
    """
    found = {"pocket"}
    for model in models.CATALOGUE:
        if models.problem(model, weights_folder) is None:
            found.add(model.worker_class)
    return tuple(sorted(found))
