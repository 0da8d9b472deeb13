"""What a departed member leaves: their finished generations, handed on, read out or erased.

The jobs of the person are over by then, so that nothing here races with a worker. Each function
does a bounded part in the caller's transaction and says how much; the caller goes on until nothing
is left, which makes every verb safe to repeat after a crash. Whether somebody may do it was asked
by the caller (`licensing.departures`). Refused pictures are not handed on, read out or erased: they
are the reviewers' evidence. A generation with locked evidence keeps its prompt, too, and one that
is said to show minors waits for the reviewer: it may be evidence.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, func, literal, select, tuple_, update
from sqlalchemy.orm import Session, selectinload

from inference.events import Event
from inference.generations import IN_FLIGHT, Generation, Picture
from licensing.cases import MINORS, SHOWN, ReviewCase
from licensing.evidence import EvidenceLock

PART_MAX = 500  # generations in one transaction: its row locks last well below a second
PAGE_MAX = 200  # generations that an export reads at a time; their pictures are not in memory
ERASED = "(erased)"  # stands where the prompt was


@dataclass(frozen=True)
class Erased:
    """What one part erased; the files of `keys` must go after the commit."""

    generations: int
    pictures: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Estate:
    """How much a member left."""

    generations: int
    pictures: int


def measure(session: Session, member_id: uuid.UUID) -> Estate:
    """Count the delivered pictures of a member and the generations that they belong to."""
    count = (
        select(func.count(Generation.id.distinct()), func.count(Picture.id))
        .join(Picture, Picture.generation_id == Generation.id)
        .where(Generation.member_id == member_id, Picture.refused.is_(False))
    )
    row = session.execute(count).one()
    return Estate(generations=row[0], pictures=row[1])


def in_flight(session: Session, member_id: uuid.UUID) -> bool:
    """Whether a job of the member is still stopping."""
    query = select(Generation.id).where(
        Generation.member_id == member_id, Generation.state.in_(IN_FLIGHT)
    )
    return session.scalars(query.limit(1)).first() is not None


def hand_on(session: Session, member_id: uuid.UUID, heir_id: uuid.UUID) -> int:
    """Give up to `PART_MAX` finished generations to another member; return how many.

    What they cost stays on the bill of who made them. The idempotency keys are set apart, because
    two people may have used the same one.
    """
    part = (
        select(Generation.id)
        .where(Generation.member_id == member_id, Generation.state == "finished")
        .order_by(Generation.created_at, Generation.id)
        .limit(PART_MAX)
    )
    moved = session.execute(
        update(Generation)
        .where(Generation.id.in_(part.scalar_subquery()))
        .values(
            member_id=heir_id,
            idempotency_key=literal(f"from:{member_id}:") + Generation.idempotency_key,
        )
        .returning(Generation.id)
        .execution_options(synchronize_session=False)
    )
    return len(moved.all())


def erase(session: Session, member_id: uuid.UUID) -> Erased:
    """Erase the pictures and prompts of up to `PART_MAX` generations; 0 when none is left.

    The generation's row stays, because money refers to it, without prompt, seed and client's key.
    """
    part = session.scalars(
        select(Generation)
        .where(
            Generation.member_id == member_id,
            Generation.state.not_in(IN_FLIGHT),
            Generation.input_hash != "",  # as the erased ones have it
            ~exists().where(
                EvidenceLock.generation_id == Generation.id,
                EvidenceLock.keep_until > func.clock_timestamp(),
            ),
            ~exists().where(
                ReviewCase.generation_id == Generation.id,
                ReviewCase.outcome.is_(None),
                ReviewCase.category.in_(MINORS),
                ReviewCase.kind.in_(SHOWN),
            ),
        )
        .limit(PART_MAX)
        .with_for_update()
    ).all()
    return scrub(session, part)


def scrub(session: Session, generations: Sequence[Generation]) -> Erased:
    """Delete delivered pictures, events and prompts; nobody else changes the generations now."""
    ids = [generation.id for generation in generations]
    gone = session.execute(
        delete(Picture)
        .where(Picture.generation_id.in_(ids), Picture.refused.is_(False))
        .returning(Picture.key, Picture.thumbnail_key)
        .execution_options(synchronize_session=False)
    ).all()
    session.execute(
        delete(Event)
        .where(Event.generation_id.in_(ids))
        .execution_options(synchronize_session=False)
    )
    for generation in generations:
        generation.request = {**generation.request, "prompt": ERASED, "seed": 0}
        generation.idempotency_key = str(generation.id)
        generation.input_hash = ""
    session.flush()
    keys = tuple(key for row in gone for key in row if key is not None)
    return Erased(generations=len(generations), pictures=len(gone), keys=keys)


def page(
    session: Session, member_id: uuid.UUID, after: tuple[datetime, uuid.UUID] | None
) -> Sequence[Generation]:
    """Return the next `PAGE_MAX` finished generations with their pictures, oldest first."""
    query = (
        select(Generation)
        .where(Generation.member_id == member_id, Generation.state == "finished")
        .order_by(Generation.created_at, Generation.id)
        .limit(PAGE_MAX)
        .options(selectinload(Generation.pictures))
    )
    if after is not None:
        query = query.where(
            tuple_(Generation.created_at, Generation.id) > tuple_(*map(literal, after))
        )
    return session.scalars(query).all()
