"""A team's LoRAs as they stand: who may see, rename and remove one, and how long its file is kept.

Reads on a person's behalf go through `access`: another team's LoRA looks missing. Verbs take the
organisation's lock first.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from licensing import evidence, seats
from licensing.adapters.tables import Adapter, note
from licensing.db import now
from licensing.errors import AtelierError, Conflict, NotAllowed, NotFound
from licensing.evidence import AdapterLock
from licensing.seats import Member, Page

NAME_CHARACTERS_MAX = 80


class InvalidAdapter(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The name or the trigger words of a LoRA cannot be kept."""

    code = "invalid_adapter"
    status = 422


def access(session: Session, member: Member, adapter_id: object) -> Adapter:
    """Return a LoRA of the member's team. Raises `NotFound`; somebody else's looks missing."""
    try:
        wanted = uuid.UUID(str(adapter_id))
    except ValueError as error:
        raise NotFound("There is no such LoRA.") from error
    found = session.scalars(
        select(Adapter)
        .where(Adapter.id == wanted, Adapter.organisation_id == member.organisation_id)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFound("There is no such LoRA.")
    return found


def find(session: Session, adapter_id: uuid.UUID | None) -> Adapter | None:
    """Return a LoRA whoever has it; the caller asks whose it is."""
    return None if adapter_id is None else session.get(Adapter, adapter_id, populate_existing=True)


def shelf(session: Session, organisation_id: uuid.UUID) -> Sequence[Adapter]:
    """Return a team's LoRAs by name, without those that were removed."""
    return session.scalars(
        select(Adapter)
        .where(Adapter.organisation_id == organisation_id, Adapter.removed_at.is_(None))
        .order_by(func.lower(Adapter.name), Adapter.id)
    ).all()


def rename(session: Session, member: Member, adapter_id: object, *, name: str) -> Adapter:
    """Give a LoRA another name. Raises `NotFound`, `NotAllowed`, `InvalidAdapter`, `Conflict`."""
    found = _own(session, member, adapter_id)
    require_unlocked(session, found)
    found.name = checked_name(name)
    note(session, found, "renamed", member_id=member.id, detail=found.name)
    return found


def remove(session: Session, member: Member, adapter_id: object) -> Adapter:
    """Take a LoRA off the shelf; its file goes after the commit. Again is harmless.

    Raises `NotFound` and `NotAllowed`: its uploader, owners and admins may.
    """
    found = _own(session, member, adapter_id)
    if found.removed_at is None:
        found.removed_at, found.worker = now(), None
        note(session, found, "removed", member_id=member.id)
    return found


def withdraw(session: Session, family: str) -> list[str]:
    """Take every LoRA of a family off every shelf, since its models are switched off.

    Returns the names of their files, which must go after the commit.
    """
    found = session.scalars(
        select(Adapter)
        .where(Adapter.family == family, Adapter.removed_at.is_(None))
        .order_by(Adapter.id)
        .with_for_update()
    ).all()
    for adapter in found:
        adapter.removed_at, adapter.worker = now(), None
        note(session, adapter, "withdrawn")
    return sorted({adapter.sha256 for adapter in found})


def lock_file(session: Session, sha256: str) -> None:
    """Until the end of the transaction nobody else lays down or deletes the file of this name."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": sha256}
    )


def is_kept(session: Session, sha256: str) -> bool:
    """Whether a team has the file on its shelf, a reviewer has to judge it, or a lock keeps it."""
    query = (
        select(Adapter.id)
        .outerjoin(AdapterLock, AdapterLock.adapter_id == Adapter.id)
        .where(
            Adapter.sha256 == sha256,
            Adapter.removed_at.is_(None)
            | (Adapter.judgement == "review")
            | (AdapterLock.keep_until > func.clock_timestamp()),
        )
    )
    return session.scalar(query.limit(1)) is not None


def destroy(session: Session, adapter_id: uuid.UUID) -> str:
    """Take a LoRA whose time as evidence is over off the shelf; returns the name of its file.

    Its file and its grid must go after the commit. The row stays, because the log names it. Raises
    `Conflict` while a lock is in force.
    """
    found = session.get_one(Adapter, adapter_id, populate_existing=True, with_for_update=True)
    require_unlocked(session, found)
    if found.removed_at is None:
        found.removed_at, found.worker = now(), None
        note(session, found, "removed")
    return found.sha256


def require_unlocked(session: Session, adapter: Adapter) -> None:
    """Raise `Conflict` where a LoRA is locked evidence: the database would refuse the change."""
    lock = evidence.lock_of_adapter(session, adapter.id)
    if lock is not None and lock.keep_until > now():
        raise Conflict("The safety desk refused this LoRA, so nothing about it can be changed.")


def require_admin(session: Session, member: Member) -> None:
    """Raise `NotAllowed` unless the member is an owner or admin, as the row says now."""
    fresh = seats.get_member(session, member.id)
    if fresh is None or not seats.may(fresh.role, Page.TEAM):
        raise NotAllowed("Only whoever brought it, an owner or an admin can do this.")


def checked_name(given: str) -> str:
    """Return a name as it is kept. Raises `InvalidAdapter`."""
    name = " ".join(given.split())
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise InvalidAdapter(f"Give the LoRA a name of 1 to {NAME_CHARACTERS_MAX} characters.")
    return name


def _own(session: Session, member: Member, adapter_id: object) -> Adapter:
    seats.lock(session, member.organisation_id)
    found = access(session, member, adapter_id)
    fresh = seats.get_member(session, member.id)
    if fresh is None:
        raise NotFound("There is no such LoRA.")
    if found.uploader_id != fresh.id:
        require_admin(session, fresh)
    return found
