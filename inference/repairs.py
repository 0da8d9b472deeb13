"""How a job is taken from its worker, or given up: what the sweep and a worker that stops do.

Each is one conditional change like those of `inference.lifecycle`, with the same promise: the
result says whether this very call made it, and the hold is released once.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func
from sqlalchemy.orm import Session

from inference.generations import IN_FLIGHT, Generation, State, queue_position
from inference.transitions import change, emit, end, mine
from licensing.db import now

ATTEMPTS_MAX = 2  # a lost worker is not the person's fault; a second one is probably the job's
LOST_MESSAGE = (
    "The worker that made this stopped twice before it was done. Nothing was charged; try again, "
    "with a smaller size if you can."
)


def lose(session: Session, generation_id: uuid.UUID, stale: ColumnElement[bool]) -> State | None:
    """Take a running row from a worker that fell silent; None if it is not `stale` after all.

    Back into the queue the first time, since an attempt leaves nothing behind before it finishes:
    the same request and seed make the same picture, and the person waits instead of failing. The
    second time it fails, because then the job itself is the likely cause. A cancel that was asked
    for is granted. The next claim counts one attempt more, so the silent worker can end nothing.
    """
    silent = and_(Generation.state == "running", stale)
    asked_to_stop = Generation.cancel_requested_at.is_not(None)
    if end(session, generation_id, and_(silent, asked_to_stop), state="cancelled"):
        return "cancelled"
    spent = and_(silent, Generation.attempts >= ATTEMPTS_MAX)
    if end(session, generation_id, spent, state="failed", code="worker_lost", message=LOST_MESSAGE):
        return "failed"
    queued = change(
        session,
        generation_id,
        silent,
        state="queued",
        worker=None,
        heartbeat_at=None,
        sent_at=now(),
    )
    if queued is None:
        return None
    emit(session, queued, "queued", position=queue_position(session, queued.id), retry=True)
    return "queued"


def hand_back(session: Session, claimed: Generation) -> bool:
    """Put it back into the queue because this worker stops in good order; not an attempt spent.

    False if a cancel was asked for or the row is another's. The next sweep rings for it.
    """
    queued = change(
        session,
        claimed.id,
        and_(mine(claimed), Generation.cancel_requested_at.is_(None)),
        state="queued",
        worker=None,
        attempts=Generation.attempts - 1,
        heartbeat_at=None,
        sent_at=Generation.created_at - timedelta(days=1),
    )
    if queued is not None:
        emit(session, queued, "queued", position=queue_position(session, queued.id), retry=True)
    return queued is not None


def expire(session: Session, generation_id: uuid.UUID, *, code: str, message: str) -> bool:
    """Fail whatever is still in flight and release its hold: it took longer than any job may."""
    return end(
        session,
        generation_id,
        Generation.state.in_(IN_FLIGHT),
        state="failed",
        code=code,
        message=message,
    )


def stale_before(cutoff: datetime) -> ColumnElement[bool]:
    """Heartbeats older than `cutoff`; while the database itself was away, nobody's grew old."""
    return func.greatest(Generation.heartbeat_at, func.pg_postmaster_start_time()) < cutoff
