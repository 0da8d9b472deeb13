"""The worker's settings, read from the environment once at start.

Nothing in here turns a filter off: content filters are a condition of the model's licence.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference import models
from inference.engine.profile import CHOICES, Choice

NOTHING = "none"

_REPOSITORY = Path(__file__).resolve().parent.parent


class WrongSetting(ValueError):  # noqa: N818 - reads as the answer that it is
    """A variable has a value that there is not; the message says which one."""


@dataclass(frozen=True)
class Settings:
    """What one worker needs to know; frozen, and passed on instead of imported."""

    database_url: str
    broker_url: str
    state_folder: Path  # pictures lie in state_folder / "pictures"
    weights_folder: Path
    worker_classes: tuple[str, ...]  # which queues this worker serves
    warm_model: str | None = None  # whose weights are loaded before the first job; NOTHING: none
    precision: Choice = "auto"  # of the matrices on a GPU; see inference.engine.profile
    gpus_per_picture: int = 1

    @property
    def pictures_folder(self) -> Path:
        """The root of the picture storage."""
        return self.state_folder / "pictures"

    @property
    def adapters_folder(self) -> Path:
        """Where the teams' LoRAs lie; shared with the web process, as the pictures are."""
        return self.state_folder / "adapters"

    @property
    def compiled_folder(self) -> Path:
        """Where kernels that were compiled for this machine's GPU outlive a restart."""
        return self.state_folder / "compiled"

    @property
    def papers_folder(self) -> Path:
        """The studio's watermark key and certificate; the same for every worker of a studio."""
        return papers_folder(self.state_folder)


def papers_folder(state_folder: Path) -> Path:
    """Where a studio keeps what it marks and signs with."""
    return state_folder / "papers"


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read DATABASE_URL, BROKER_URL, ATELIER_STATE, ATELIER_WEIGHTS and the like.

    Without ATELIER_WORKER_CLASSES (names with commas between them) the worker serves the classes
    of which this machine can run a model; without ATELIER_WARM_MODEL it begins with the first of
    them in the catalogue. Raises `KeyError` if either URL is missing, `WrongSetting` for a
    precision that there is not and a number of GPUs that is none.
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
        warm_model=environment.get("ATELIER_WARM_MODEL") or None,
        precision=_precision(environment.get("ATELIER_PRECISION") or "auto"),
        gpus_per_picture=_gpus(environment.get("ATELIER_GPUS_PER_PICTURE") or "1"),
    )


def _precision(named: str) -> Choice:
    for choice in CHOICES:
        if choice == named:
            return choice
    raise WrongSetting(f"ATELIER_PRECISION must be one of {', '.join(CHOICES)}, not {named!r}.")


def _gpus(written: str) -> int:
    if not written.isdecimal() or int(written) < 1:
        raise WrongSetting(f"ATELIER_GPUS_PER_PICTURE must be a number from 1, not {written!r}.")
    return int(written)


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
