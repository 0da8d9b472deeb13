"""What a member has made, newest first: pages of the gallery, and what was asked for last."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session, selectinload

from inference.generations import Generation
from licensing.seats import Member

PAGE_MAX = 100  # generations on one page of the gallery


def page(
    session: Session,
    member: Member,
    *,
    before: uuid.UUID | None = None,
    limit: int = 24,
    words: Sequence[str] = (),
    is_starred: bool = False,
) -> Sequence[Generation]:
    """Return the member's finished generations with pictures, newest first; no deleted ones.

    `before` is the id of the last one on the page before this; an unknown one gives no rows. Each
    of `words` must stand in the prompt, in any case; `is_starred` asks for the starred ones alone.
    """
    found = (
        select(Generation)
        .where(
            Generation.member_id == member.id,
            Generation.state == "finished",
            Generation.input_hash != "",
            *(Generation.request["prompt"].astext.icontains(w, autoescape=True) for w in words),
        )
        .order_by(Generation.created_at.desc(), Generation.id.desc())
        .limit(min(limit, PAGE_MAX))
        .options(selectinload(Generation.pictures))
    )
    if is_starred:
        found = found.where(Generation.starred_at.is_not(None))
    if before is not None:
        last = (
            select(Generation.created_at, Generation.id)
            .where(Generation.id == before, Generation.member_id == member.id)
            .subquery()
        )
        found = found.join(last, tuple_(Generation.created_at, Generation.id) < tuple_(*last.c))
    return session.scalars(found).all()


def newest(session: Session, member: Member) -> Generation | None:
    """Return what the member asked for last, however it ended: the page begins with its choices."""
    last_first = (Generation.created_at.desc(), Generation.id.desc())
    own = select(Generation).where(Generation.member_id == member.id)
    return session.scalar(own.order_by(*last_first).limit(1))
