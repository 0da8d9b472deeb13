"""What happened to a generation, as append-only rows, each with a NOTIFY in its transaction.

The page replays the rows after the last one it saw, so a reload or a second tab loses nothing.
Kinds, in the order in which they come, and their data:

    queued     position (1 = next), retry (only after a lost worker)
    started    steps, attempt                     a worker has claimed it
    loading    message                            weights go into memory; comes after `started`
    step       step, steps, preview               preview: data URL of a small WebP, or null
    saved      pictures                           how many lie in storage; not yet paid for
    finished   pictures: [{id, index, seed, width, height, refused}], charged_micros
    failed     code, message
    cancelled  (nothing)
    refused    message, code
    shelved    (nothing)                          its maker starred or deleted it: read it anew

A member's events are numbered in the order in which they are committed, because every transaction
that emits one takes the member's lane first: a follower may trust "everything after id N".
"""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ForeignKey, Identity, Index, delete, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now

Kind = Literal[
    "queued",
    "started",
    "loading",
    "step",
    "saved",
    "finished",
    "failed",
    "cancelled",
    "refused",
    "shelved",
]

CHANNEL = "atelier_event"  # payload: "<member id>:<event id>"
PAGE_MAX = 500  # rows a reader takes at once; one generation of 52 steps is under 70
PREVIEW_CHARACTERS_MAX = 8192  # a 4 KB preview in base64, with room; larger ones are left out
STEPS_KEPT = timedelta(hours=1)  # previews are for watching, not for the archive

_LANE = 0x6C61_6E65  # the first key of the advisory locks of this module


class Event(Base):
    """One thing that happened. Rows are never changed; old `step` rows are dropped by the sweep."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_member_id_id", "member_id", "id"),
        Index("ix_event_generation_id_id", "generation_id", "id"),
        Index("ix_event_step_created_at", "created_at", postgresql_where=text("kind = 'step'")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    generation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("generation.id"))
    member_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


def take_lane(session: Session, member_id: uuid.UUID) -> None:
    """Lock this member's lane until the transaction ends; always the first lock that it takes.

    The lane puts one member's events and new generations in a row. Wallets are locked after lanes
    and never before, so that two transactions cannot wait for each other.
    """
    session.execute(
        select(func.pg_advisory_xact_lock(_LANE, func.hashtext(str(member_id).lower())))
    )


def emit(
    session: Session,
    *,
    generation_id: uuid.UUID,
    member_id: uuid.UUID,
    kind: Kind,
    data: dict[str, Any],
) -> Event:
    """Append one event and wake its followers when the transaction commits."""
    take_lane(session, member_id)  # a second time in one transaction costs nothing
    event = Event(
        generation_id=generation_id, member_id=member_id, kind=kind, data=data, created_at=now()
    )
    session.add(event)
    session.flush()
    session.execute(select(func.pg_notify(CHANNEL, f"{member_id}:{event.id}")))
    return event


def since(
    session: Session, member_id: uuid.UUID, after_id: int, limit: int = PAGE_MAX
) -> Sequence[Event]:
    """Return the member's events after `after_id`, oldest first, at most `limit` (PAGE_MAX)."""
    return session.scalars(
        select(Event)
        .where(Event.member_id == member_id, Event.id > after_id)
        .order_by(Event.id)
        .limit(min(limit, PAGE_MAX))
    ).all()


def of_generation(session: Session, generation_id: uuid.UUID) -> Sequence[Event]:
    """Return the events of one generation, oldest first: what a reloaded page replays.

    The caller has fetched the generation by `generations.access`; nothing is authorised here.
    """
    return session.scalars(
        select(Event).where(Event.generation_id == generation_id).order_by(Event.id).limit(PAGE_MAX)
    ).all()


def last_id(session: Session, member_id: uuid.UUID) -> int:
    """Return the number of the member's newest event, 0 without one: where a new page begins."""
    newest = select(func.max(Event.id)).where(Event.member_id == member_id)
    return session.scalar(newest) or 0


def as_json(event: Event) -> str:
    """Return the event as the JSON line that a page reads."""
    return json.dumps(
        {
            "id": event.id,
            "generation": str(event.generation_id),
            "kind": event.kind,
            "at": event.created_at.isoformat(),
            **event.data,
        }
    )


def forget_previews(session: Session, generation_id: uuid.UUID) -> None:
    """Drop the steps of a generation of which a picture was refused: they show it in small."""
    session.execute(delete(Event).where(Event.kind == "step", Event.generation_id == generation_id))


def prune(session: Session, moment: datetime) -> None:
    """Drop step events (with their previews) that nobody watches any more."""
    session.execute(
        delete(Event).where(Event.kind == "step", Event.created_at < moment - STEPS_KEPT)
    )
