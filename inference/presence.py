"""Which workers are there: one row a worker process, kept fresh by its own heartbeat.

The page asks it why a job waits and which models can be run now. A row that has not been touched
for ALIVE_SECONDS belongs to a worker that is gone. By the database's clock, so that hosts with
different clocks agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import CheckConstraint, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from inference import models
from inference.models import Model
from licensing.db import Base

WorkerState = Literal["starting", "loading", "ready", "busy"]

HEARTBEAT_SECONDS = 2.0  # a worker's own thread; one small UPDATE
ALIVE_SECONDS = 10.0  # several heartbeats: the imports at the first task can hold one up
FORGET_AFTER = timedelta(minutes=10)


class WorkerPresence(Base):
    """One worker process.

    `models` maps the ids that its queues serve to null or a reason why it cannot run them,
    `filters` the names of its content filters to null or a reason why one does not judge.
    """

    __tablename__ = "worker_presence"
    __table_args__ = (
        CheckConstraint("state IN ('starting', 'loading', 'ready', 'busy')", name="state"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str]
    state: Mapped[str]
    message: Mapped[str]
    models: Mapped[dict[str, Any]]
    filters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    heartbeat_at: Mapped[datetime]


@dataclass(frozen=True)
class Report:
    """What a worker says of itself."""

    name: str
    device: str
    state: WorkerState
    message: str = ""
    models: dict[str, str | None] = field(default_factory=dict)
    filters: dict[str, str | None] = field(default_factory=dict)


def report(session: Session, said: Report) -> None:
    """Write the worker's row and its heartbeat."""
    values = {
        "device": said.device,
        "state": said.state,
        "message": said.message,
        "models": said.models,
        "filters": said.filters,
        "heartbeat_at": func.clock_timestamp(),
    }
    session.execute(
        insert(WorkerPresence)
        .values(name=said.name, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )


def leave(session: Session, name: str) -> None:
    """Take the row away: the worker stops in good order."""
    session.execute(delete(WorkerPresence).where(WorkerPresence.name == name))


def alive(session: Session) -> Sequence[WorkerPresence]:
    """Return the workers that are there now, by name."""
    oldest = func.clock_timestamp() - timedelta(seconds=ALIVE_SECONDS)
    return session.scalars(
        select(WorkerPresence)
        .where(WorkerPresence.heartbeat_at > oldest)
        .order_by(WorkerPresence.name)
    ).all()


def problem(session: Session, model: Model, weights_folder: Path) -> str | None:
    """Say why `model` cannot be chosen now; None if it can.

    The living workers know best. Without one that serves the model's class the weights on this
    machine decide, and a job for a model that has them waits for its worker.
    """
    said = [
        worker.models[model.id] or _filter_problem(worker)
        for worker in alive(session)
        if model.id in worker.models
    ]
    if not said:
        return models.problem(model, weights_folder)
    reasons = [reason for reason in said if reason is not None]
    return None if len(reasons) < len(said) else reasons[0]


def served(session: Session) -> set[str]:
    """Return the classes of models that a living worker serves."""
    return {
        model.worker_class
        for worker in alive(session)
        for model in models.CATALOGUE
        if model.id in worker.models
    }


def filters(session: Session) -> dict[str, str | None]:
    """What the living workers say of their content filters: null, or the first reason why not."""
    merged: dict[str, str | None] = {}
    for worker in alive(session):
        for name, reason in worker.filters.items():
            merged[name] = merged.get(name) or reason
    return merged


def _filter_problem(worker: WorkerPresence) -> str | None:
    return next((reason for reason in worker.filters.values() if reason), None)


def waiting_reason(session: Session, model: Model) -> str | None:
    """Say why a job for `model` waits, as far as workers are the cause; None if one is ready."""
    serving = [worker for worker in alive(session) if model.id in worker.models]
    if not serving:
        return "No worker is running for this model. Your job waits and starts when one comes."
    if any(worker.state in {"ready", "busy"} for worker in serving):
        return None
    return serving[0].message or "The worker is starting."


def forget(session: Session) -> None:
    """Drop the rows of workers that have been gone for long."""
    session.execute(
        delete(WorkerPresence).where(
            WorkerPresence.heartbeat_at < func.clock_timestamp() - FORGET_AFTER
        )
    )
