"""Taking a delivered picture back, and delivering one that was refused: what a reviewer decides.

Both are one conditional UPDATE under the lane of the picture's member, with an event that draws
open pages anew. Money is touched by neither: a picture that was refused was not charged and stays
free when it is released, and one that is taken back later stays on the bill. Evidence that is
locked is never released; the database refuses that too.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from inference import events
from inference.generations import Generation, Picture
from licensing import evidence


@dataclass(frozen=True)
class Found:
    """A picture and the generation that it belongs to."""

    picture: Picture
    generation: Generation


def destroy(session: Session, generation_id: uuid.UUID, picture_index: int) -> tuple[str, ...]:
    """Delete a picture whose time as evidence is over; its files must go after the commit.

    The database refuses while a lock is in force.
    """
    gone = session.execute(
        delete(Picture)
        .where(Picture.generation_id == generation_id, Picture.index == picture_index)
        .returning(Picture.key, Picture.thumbnail_key)
        .execution_options(synchronize_session=False)
    ).all()
    return tuple(key for row in gone for key in row if key is not None)


def find_all(
    session: Session, generation_id: uuid.UUID | None, picture_index: int | None
) -> list[Found]:
    """Read what a case names: one picture of a generation, or without an index all of them.

    Nothing where they are gone or never were. The caller has asked whose case it is.
    """
    query = _FOUND.where(Picture.generation_id == generation_id).order_by(Picture.index)
    if picture_index is not None:
        query = query.where(Picture.index == picture_index)
    return [Found(*row) for row in session.execute(query)]


def by_id(session: Session, picture_id: object) -> Found | None:
    """Read a picture by its id, whoever made it. The caller asks whose it is, or tells nobody."""
    row = session.execute(_FOUND.where(Picture.id == picture_id)).one_or_none()
    return None if row is None else Found(*row)


def withhold(session: Session, found: Found) -> bool:
    """Take a delivered picture back from its maker; False if it was not delivered."""
    events.take_lane(session, found.generation.member_id)
    if not _set_refused(session, found.picture.id, refused=True):
        return False
    events.forget_previews(session, found.generation.id)
    events.emit(
        session,
        generation_id=found.generation.id,
        member_id=found.generation.member_id,
        kind="saved",  # the page draws the job anew and says nothing aloud
        data={"withheld": True},
    )
    return True


def release(session: Session, found: Found) -> bool:
    """Deliver a refused picture, free of charge; False if it was delivered, not kept, or locked.

    A generation of which everything was refused is finished by that, with nothing charged.
    """
    generation, picture = found.generation, found.picture
    events.take_lane(session, generation.member_id)
    lock = evidence.lock_of(session, picture.generation_id, picture.index)
    if picture.key is None or lock is not None:
        return False
    if not _set_refused(session, picture.id, refused=False):
        return False
    session.execute(
        update(Generation)
        .where(Generation.id == generation.id, Generation.state == "refused")
        .values(state="finished", error_code=None, error_message=None)
        .execution_options(synchronize_session=False)
    )
    events.emit(
        session,
        generation_id=generation.id,
        member_id=generation.member_id,
        kind="finished",
        data={"released": str(picture.id), "charged_micros": generation.charged_micros},
    )
    return True


def by_sha256(session: Session, sha256: str) -> uuid.UUID | None:
    """The id of a picture whose original has these very bytes, whoever made it."""
    found = select(Picture.id).where(Picture.sha256 == sha256).order_by(Picture.created_at)
    return session.scalars(found.limit(1)).first()


_FOUND = (
    select(Picture, Generation)
    .join(Generation, Generation.id == Picture.generation_id)
    .execution_options(populate_existing=True)
)


def _set_refused(session: Session, picture_id: uuid.UUID, *, refused: bool) -> bool:
    changed = session.execute(
        update(Picture)
        .where(Picture.id == picture_id, Picture.refused.is_(not refused))
        .values(refused=refused)
        .returning(Picture.id)
        .execution_options(synchronize_session=False)
    )
    return changed.one_or_none() is not None
