"""What a member does with pictures of their own: star them, and delete them for good.

Each verb takes the member's lane and leaves an event, so that every open page follows. Deleting
erases pictures and prompt, as `inference.estates` does for somebody who left; the generation's row,
its usage line and every verdict on it stay. Called by the gallery's routes.
"""

import uuid

from sqlalchemy import exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from inference import estates, events
from inference.estates import Erased
from inference.generations import Generation, access
from licensing.cases import ReviewCase
from licensing.db import now
from licensing.errors import Conflict, NotFound
from licensing.seats import Member


def star(
    session: Session, member: Member, generation_id: uuid.UUID, *, is_starred: bool
) -> Generation:
    """Mark a finished generation as one to keep, or take the mark off. Raises `NotFound`."""
    own = _finished(session, member, generation_id)
    if is_starred != (own.starred_at is not None):
        own.starred_at = now() if is_starred else None
        _tell(session, own)
    return own


def delete(session: Session, member: Member, generation_id: uuid.UUID) -> Erased:
    """Delete the pictures and the prompt of a finished generation; what it cost stays on the bill.

    The files of the returned keys must go after the commit. Raises `NotFound`, and `Conflict`
    (roll back!) while a reviewer has to see them or where they have to be kept as evidence.
    """
    own = _finished(session, member, generation_id)
    is_undecided = exists().where(ReviewCase.generation_id == own.id, ReviewCase.outcome.is_(None))
    if session.scalar(select(is_undecided)):
        raise Conflict("A reviewer still has to look at this. It can be deleted after that.")
    own.starred_at = None
    try:
        erased = estates.scrub(session, [own])
    except IntegrityError as error:
        raise Conflict("These pictures are kept as evidence and cannot be deleted.") from error
    _tell(session, own)
    return erased


def _finished(session: Session, member: Member, generation_id: uuid.UUID) -> Generation:
    """Take the lane and read the member's own; one in flight or deleted is not on the shelf."""
    events.take_lane(session, member.id)
    own = access(session, member, generation_id)
    if own.state != "finished" or own.is_erased:
        raise NotFound("There is no such picture.")
    return own


def _tell(session: Session, own: Generation) -> None:
    events.emit(session, generation_id=own.id, member_id=own.member_id, kind="shelved", data={})
