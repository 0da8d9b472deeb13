"""What a team does with its LoRAs: brings them, names them, removes them.

Reads on a person's behalf go through `access`: another team's LoRA looks missing. Verbs take the
organisation's lock first, so that two people cannot both bring the last one there is room for.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from licensing import abuse, evidence, moderation, policy, seats
from licensing.adapters.tables import Adapter, AdapterChange, note
from licensing.db import now
from licensing.errors import AtelierError, Conflict, NotAllowed, NotFound
from licensing.evidence import AdapterLock
from licensing.moderation import PromptVerdict
from licensing.seats import Member, Page

COUNT_MAX = 200  # a team's; the list is read whole
BYTES_MAX = 40 * 2**30  # of all files of a team: forty large ones
NAME_CHARACTERS_MAX = 80
TRIGGERS_CHARACTERS_MAX = 200  # they are put before each prompt of the grid


class InvalidAdapter(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The name or the trigger words of a LoRA cannot be kept."""

    code = "invalid_adapter"
    status = 422


class TriggersRefused(InvalidAdapter):
    """The use policy does not allow the trigger words; the caller writes that down."""

    def __init__(self, words: str, verdict: PromptVerdict) -> None:
        """Keep what was judged, and what was said of it."""
        self.words, self.verdict = words, verdict
        super().__init__(f"These trigger words cannot be used. {verdict.message}")


class NoRoom(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The team has as many LoRAs, or as many bytes of them, as it may."""

    code = "no_room"
    status = 409


@dataclass(frozen=True)
class Brought:
    """A file that lies where it belongs, and what its header says."""

    sha256: str
    bytes: int
    family: str
    layout: str
    layers: int
    rank: int | None


def opened_to_all(session: Session, organisation_id: uuid.UUID) -> bool:
    """Whether every seated member may bring LoRAs; so it is until an owner or admin says no."""
    query = (
        select(AdapterChange.kind)
        .where(
            AdapterChange.organisation_id == organisation_id,
            AdapterChange.kind.in_(("opened_to_all", "kept_to_admins")),
        )
        .order_by(AdapterChange.id.desc())
        .limit(1)
    )
    return session.scalar(query) != "kept_to_admins"


def open_to(session: Session, actor: Member, *, everybody: bool) -> None:
    """Say who may bring LoRAs. Raises `NotAllowed` unless the actor is an owner or admin."""
    seats.lock(session, actor.organisation_id)
    _require_admin(session, actor)
    if opened_to_all(session, actor.organisation_id) == everybody:
        return
    change = AdapterChange(
        organisation_id=actor.organisation_id,
        member_id=actor.id,
        kind="opened_to_all" if everybody else "kept_to_admins",
        detail="",
        at=now(),
    )
    session.add(change)
    session.flush()


def may_bring(session: Session, member: Member) -> str | None:
    """Say why a member may bring no LoRA; None if they may."""
    try:
        seats.require_seat(member)
        abuse.require_calm(session, member.id)  # a check draws pictures, too
    except AtelierError as error:
        return error.message
    if seats.may(member.role, Page.TEAM) or opened_to_all(session, member.organisation_id):
        return None
    return "In this team only owners and admins bring LoRAs. Ask one of them."


def require_words(session: Session, member: Member, *, name: str, triggers: str) -> None:
    """Raise `InvalidAdapter` for a name or trigger words that cannot be kept.

    That is `TriggersRefused` where the use policy says no.
    """
    _name(name)
    _triggers(session, member, triggers)


def require_room(session: Session, member: Member, size: int) -> None:
    """Raise `NotAllowed` or `NoRoom` before a file of `size` bytes is taken in."""
    problem = may_bring(session, member)
    if problem is not None:
        raise NotAllowed(problem)
    count, total = session.execute(
        select(func.count(), func.coalesce(func.sum(Adapter.bytes), 0)).where(
            Adapter.organisation_id == member.organisation_id, Adapter.removed_at.is_(None)
        )
    ).one()
    if count >= COUNT_MAX:
        raise NoRoom(f"The team has {COUNT_MAX} LoRAs, which is the limit. Remove one first.")
    if total + size > BYTES_MAX:
        raise NoRoom(
            f"The team’s LoRAs may have {BYTES_MAX >> 30} GB together, and there are "  # noqa: RUF001
            f"{max(BYTES_MAX - total, 0) >> 20:,} MB left. Remove one first."
        )


def lock_file(session: Session, sha256: str) -> None:
    """Until the end of the transaction nobody else lays down or deletes the file of this name."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": sha256}
    )


def bring(
    session: Session, member: Member, brought: Brought, *, name: str, triggers: str
) -> tuple[Adapter, bool]:
    """Put a file on the shelf, to be checked; the same file is the LoRA that it was before.

    Returns the LoRA, and whether it waits for a check. Raises `NotAllowed`, `NoRoom`,
    `InvalidAdapter`, and `Conflict` for a file that is locked evidence.
    """
    seats.lock(session, member.organisation_id)
    found = session.scalars(
        select(Adapter)
        .where(Adapter.organisation_id == member.organisation_id, Adapter.sha256 == brought.sha256)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is not None and found.removed_at is None:
        return found, False
    if found is not None:
        _require_unlocked(session, found)
    require_room(session, member, brought.bytes)
    words = _triggers(session, member, triggers)
    if found is None:
        found = Adapter(
            organisation_id=member.organisation_id,
            uploader_id=member.id,
            name=_name(name),
            triggers=words,
            family=brought.family,
            sha256=brought.sha256,
            bytes=brought.bytes,
            layout=brought.layout,
            layers=brought.layers,
            rank=brought.rank,
            sent_at=now(),
            created_at=now(),
        )
        session.add(found)
        session.flush()
        note(session, found, "brought", member_id=member.id, detail=found.name)
        return found, True
    # What was said of it holds still: a refusal is not undone by bringing the file again.
    found.removed_at, found.name = None, _name(name)
    found.worker, found.attempts, found.sent_at = None, 0, now()
    if words != found.triggers and found.judgement == "ready":
        found.judgement = None  # other words before the prompts make another grid
    found.triggers = words
    note(session, found, "brought_again", member_id=member.id, detail=found.name)
    return found, found.judgement is None


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
    _require_unlocked(session, found)
    found.name = _name(name)
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
    _require_unlocked(session, found)
    if found.removed_at is None:
        found.removed_at, found.worker = now(), None
        note(session, found, "removed")
    return found.sha256


def _own(session: Session, member: Member, adapter_id: object) -> Adapter:
    seats.lock(session, member.organisation_id)
    found = access(session, member, adapter_id)
    fresh = seats.get_member(session, member.id)
    if fresh is None:
        raise NotFound("There is no such LoRA.")
    if found.uploader_id != fresh.id:
        _require_admin(session, fresh)
    return found


def _require_unlocked(session: Session, adapter: Adapter) -> None:
    """Raise `Conflict` where a LoRA is locked evidence: the database would refuse the change."""
    lock = evidence.lock_of_adapter(session, adapter.id)
    if lock is not None and lock.keep_until > now():
        raise Conflict("The safety desk refused this LoRA, so nothing about it can be changed.")


def _require_admin(session: Session, member: Member) -> None:
    fresh = seats.get_member(session, member.id)
    if fresh is None or not seats.may(fresh.role, Page.TEAM):
        raise NotAllowed("Only whoever brought it, an owner or an admin can do this.")


def _name(given: str) -> str:
    name = " ".join(given.split())
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise InvalidAdapter(f"Give the LoRA a name of 1 to {NAME_CHARACTERS_MAX} characters.")
    return name


def _triggers(session: Session, member: Member, given: str) -> str:
    """Return the trigger words, which are part of the grid's prompts and judged like any."""
    words = " ".join(given.split())
    if len(words) > TRIGGERS_CHARACTERS_MAX or not words.isprintable():
        raise InvalidAdapter(f"The trigger words may have {TRIGGERS_CHARACTERS_MAX} characters.")
    tightened = policy.tightened(session, member.organisation_id)
    verdict = moderation.check_prompt(words, tightened)
    if verdict.action == "block":
        raise TriggersRefused(words, verdict)
    return words
