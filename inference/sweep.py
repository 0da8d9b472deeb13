"""The one repair loop: what a crash, a lost message or an absent worker left behind.

It rings again for rows that nobody claimed, takes running rows from workers that fell silent,
fails what has waited or run for too long and what uses a model that was switched off, and expires
holds that outlived their job. Every step is a conditional UPDATE in its own transaction, so that
two sweeps at once do each thing once. The beat runs it every SWEEP_SECONDS; it is safe at any
moment.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, select, update
from sqlalchemy.orm import Session

from inference import events, presence, withdrawal
from inference.generations import IN_FLIGHT, QUEUED_MAX, RUNNING_MAX, Generation
from inference.repairs import expire, lose, stale_before
from licensing import budgets, ledger, seat_days
from licensing.db import Database

SWEEP_SECONDS = 5.0  # how often the beat asks for one
STALE_AFTER = timedelta(seconds=20)  # ten missed heartbeats: a dead worker, not a slow one
RESEND_AFTER = timedelta(seconds=30)  # a second message is harmless, a flood of them is not
ROWS_MAX = 200  # a kind and a sweep; the next one continues

TOO_LONG_QUEUED = "No worker took this for a day, so it was given up. Nothing was charged."
TOO_LONG_RUNNING = "This ran for longer than any job may and was stopped. Nothing was charged."
HOLD_EXPIRED = "The money reserved for this was given back before it was done. Try again."

Enqueue = Callable[[uuid.UUID, str], object]


@dataclass(frozen=True)
class Swept:
    """How many rows one sweep changed."""

    resent: int = 0
    requeued: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0


def sweep(database: Database, enqueue: Enqueue, moment: datetime | None = None) -> Swept:
    """Repair what is broken as of `moment` (default: the database's clock).

    `enqueue(generation_id, model)` rings for a worker; it is called after the commit.
    """
    with database.read() as session:
        at = moment or session.scalars(select(func.clock_timestamp())).one()
    expired = _expire(database, at)
    _free_budgets(database)
    revoked = withdrawal.stop_jobs(database)
    outcomes = _take_from_silent_workers(database, enqueue, at)
    resent = _ring_again(database, enqueue, at)
    with database.transaction() as session:
        events.prune(session, at)
        presence.forget(session)
        seat_days.begin_all(session, at)
    return Swept(
        resent=resent,
        requeued=outcomes.count("queued"),
        failed=outcomes.count("failed") + revoked,
        cancelled=outcomes.count("cancelled"),
        expired=expired,
    )


def _expire(database: Database, at: datetime) -> int:
    """Fail what took too long, then whatever lost its hold all the same."""
    count = 0
    too_long = (
        (
            and_(Generation.state == "queued", Generation.created_at < at - QUEUED_MAX),
            "queued_too_long",
            TOO_LONG_QUEUED,
        ),
        (
            and_(Generation.state == "running", Generation.started_at < at - RUNNING_MAX),
            "ran_too_long",
            TOO_LONG_RUNNING,
        ),
    )
    for condition, code, message in too_long:
        for generation_id, _ in _rows(database, condition):
            with database.transaction() as session:
                count += expire(session, generation_id, code=code, message=message)
    with database.transaction() as session:
        ledger.expire_holds(session, at)
    with database.transaction() as session:
        ledger.expire_lots(session, at)
    # Asked of the rows, not of the call before: a sweep may have died between the two.
    unheld = exists().where(
        ledger.Hold.generation_id == Generation.id, ledger.Hold.state == "expired"
    )
    for generation_id, _ in _rows(database, and_(Generation.state.in_(IN_FLIGHT), unheld)):
        with database.transaction() as session:
            count += expire(session, generation_id, code="hold_expired", message=HOLD_EXPIRED)
    return count


def _free_budgets(database: Database) -> None:
    """Free what budgets still count of jobs whose hold is resolved: a crash came between."""
    with database.read() as session:
        stranded = budgets.stranded(session)
    for generation_id, charged_micros in stranded:
        with database.transaction() as session:
            budgets.resolve(session, generation_id, charged_micros)


def _take_from_silent_workers(
    database: Database, enqueue: Enqueue, at: datetime
) -> list[str | None]:
    stale = stale_before(at - STALE_AFTER)
    outcomes: list[str | None] = []
    for generation_id, model in _rows(database, and_(Generation.state == "running", stale)):
        with database.transaction() as session:
            outcome = lose(session, generation_id, stale)
        if outcome == "queued":
            enqueue(generation_id, model)
        outcomes.append(outcome)
    return outcomes


def _ring_again(database: Database, enqueue: Enqueue, at: datetime) -> int:
    with database.transaction() as session:
        unclaimed = _mark_resent(session, at)
    for generation_id, model in unclaimed:
        enqueue(generation_id, model)
    return len(unclaimed)


def _mark_resent(session: Session, at: datetime) -> Sequence[tuple[uuid.UUID, str]]:
    """Take the rows to ring for, oldest first; another sweep at work skips them."""
    waiting = (
        select(Generation.id)
        .where(Generation.state == "queued", Generation.sent_at < at - RESEND_AFTER)
        .order_by(Generation.created_at, Generation.id)
        .limit(ROWS_MAX)
        .with_for_update(skip_locked=True)
    )
    marked = session.execute(
        update(Generation)
        .where(Generation.id.in_(waiting.scalar_subquery()))
        .values(sent_at=at)
        .returning(Generation.created_at, Generation.id, Generation.model)
        .execution_options(synchronize_session=False)
    ).all()
    return [(row.id, row.model) for row in sorted(marked, key=lambda row: row[:2])]


def _rows(database: Database, condition: ColumnElement[bool]) -> Sequence[tuple[uuid.UUID, str]]:
    with database.read() as session:
        found = session.execute(
            select(Generation.id, Generation.model)
            .where(condition)
            .order_by(Generation.created_at, Generation.id)
            .limit(ROWS_MAX)
        ).all()
    return [(row.id, row.model) for row in found]
