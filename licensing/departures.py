"""Members who have left or are locked out, as their admins deal with what they leave behind.

What a verb may be done to is asked here, under the organisation's lock: only a member who is
suspended or removed, only by an owner or admin of the same organisation. `forget` takes a removed
person's name out of the rows that no bill needs. Usage lines, the ledger and the
history of seats are append-only and keep what they said; `licensing.chain.forget` blanks the words
in the records of moderation. Called by `webapp.departures`.
"""

import uuid

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from licensing import actors, provisioning, seats
from licensing.actors import Actor
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.invites import Invite
from licensing.seats import Member, Role, Status

ERASED_DOMAIN = "erased.invalid"  # a name that no mail is ever sent to (RFC 2606)


def departed(session: Session, actor: Actor, member_id: uuid.UUID) -> Member:
    """Return a member who is suspended or removed, under the organisation's lock.

    Raises `NotFound` for a stranger, `Conflict` for somebody who is active, `NotAllowed` where an
    admin reaches for an owner's things.
    """
    actor = actors.require_admin(session, actor)
    member = seats.get_member(session, member_id)
    if member is None or member.organisation_id != actor.organisation_id:
        raise NotFound("There is no such member.")
    if member.status == Status.ACTIVE:
        raise Conflict(f"{member.name} is active. Suspend or remove them first.")
    if member.role == Role.OWNER and actor.role != Role.OWNER:
        raise NotAllowed("Only an owner can deal with what an owner left.")
    return member


def removed(session: Session, actor: Actor, member_id: uuid.UUID) -> Member:
    """As `departed`, for what cannot be taken back: a suspended member may still return."""
    member = departed(session, actor, member_id)
    if member.status != Status.REMOVED:
        raise Conflict(f"{member.name} is suspended and may return. Remove them first.")
    return member


def heir(session: Session, member: Member, heir_id: uuid.UUID) -> Member:
    """Return the active colleague whom `member`'s pictures go to.

    Raises `NotFound` for a stranger, `Conflict` for somebody who has left too.
    """
    found = seats.get_member(session, heir_id)
    if found is None or found.organisation_id != member.organisation_id:
        raise NotFound("There is no such member.")
    if found.status != Status.ACTIVE:
        raise Conflict(f"{found.name} is not active, so the pictures cannot go to them.")
    return found


def leavers(session: Session, organisation_id: uuid.UUID, *, limit: int) -> list[Member]:
    """Those who were removed and not yet forgotten, latest joined first."""
    query = select(Member).where(
        Member.organisation_id == organisation_id,
        Member.status == Status.REMOVED,
        Member.email.not_like(f"%@{ERASED_DOMAIN}"),
    )
    return list(session.scalars(query.order_by(Member.created_at.desc(), Member.id).limit(limit)))


def forget(session: Session, actor: Actor, member: Member) -> None:
    """Take a removed person's name and address out of their membership and their invites.

    The provider's own id of them stays, so that they cannot come back in by their domain.
    The caller holds the lock that `removed` took.
    """
    assert member.status == Status.REMOVED, "whoever may return is not forgotten"
    short = member.id.hex[:8]
    address = f"former-{short}@{ERASED_DOMAIN}"
    if member.email == address:
        return
    session.execute(
        update(Invite)
        .where(Invite.organisation_id == member.organisation_id, Invite.email == member.email)
        .values(email=address)
        .execution_options(synchronize_session=False)
    )
    member.name, member.email = f"Former member {short}", address
    provisioning.forget(session, member.id)
    actors.record(session, actor, "forgotten", member=member)
