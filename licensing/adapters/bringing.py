"""A file on its way to a team's shelf: who may bring one, under which words, if there is room.

Takes the organisation's lock first, so that two people cannot both bring the last one there is room
for. What was said of a file holds when it is removed and brought again.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from licensing import abuse, moderation, policy, seats
from licensing.adapters.shelf import InvalidAdapter, checked_name, require_admin, require_unlocked
from licensing.adapters.tables import Adapter, AdapterChange, note
from licensing.db import now
from licensing.errors import AtelierError, NotAllowed
from licensing.moderation import PromptVerdict
from licensing.seats import Member, Page

COUNT_MAX = 200  # a team's; the list is read whole
BYTES_MAX = 40 * 2**30  # of all files of a team: forty large ones
TRIGGERS_CHARACTERS_MAX = 200  # they are put before each prompt of the grid


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
    require_admin(session, actor)
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
    checked_name(name)
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
        require_unlocked(session, found)
    require_room(session, member, brought.bytes)
    words = _triggers(session, member, triggers)
    if found is None:
        found = Adapter(
            organisation_id=member.organisation_id,
            uploader_id=member.id,
            name=checked_name(name),
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
    found.removed_at, found.name = None, checked_name(name)
    found.worker, found.attempts, found.sent_at = None, 0, now()
    if words != found.triggers and found.judgement == "ready":
        found.judgement = None  # other words before the prompts make another grid
    found.triggers = words
    note(session, found, "brought_again", member_id=member.id, detail=found.name)
    return found, found.judgement is None


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
