"""What owners and admins do to members: suspend, resume, remove, re-role, give and take seats.

Each verb takes the organisation's lock, reads the actor and the member afresh under it, writes one
row of history and returns the member as they are now. A member of another organisation does not
exist for the actor. Ending the sessions and jobs of a member is the web app's part, after commit.
"""

import uuid

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from licensing import seats
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.seats import Member, Page, Role, Status


def assign_seat(session: Session, actor: Member, member_id: uuid.UUID) -> Member:
    """Let a member generate. Raises `SeatCeilingReached`, `Conflict`, `NotFound`."""
    actor, member = _under_lock(session, actor, member_id)
    if member.seated:
        return member
    if member.status != Status.ACTIVE:
        raise Conflict(f"{member.name} is suspended. Resume them before you assign a seat.")
    seats.require_seat_left(session, actor.organisation_id)
    member.seated = True
    seats.record(session, member.organisation_id, "seat_assigned", actor=actor, member=member)
    return member


def revoke_seat(session: Session, actor: Member, member_id: uuid.UUID) -> Member:
    """Take a member's seat back; they keep their pictures and their sign-in."""
    actor, member = _under_lock(session, actor, member_id)
    if not member.seated:
        return member
    member.seated = False
    seats.record(session, member.organisation_id, "seat_revoked", actor=actor, member=member)
    return member


def suspend(session: Session, actor: Member, member_id: uuid.UUID) -> Member:
    """Lock a member out until they are resumed; their seat stays theirs."""
    actor, member = _under_lock(session, actor, member_id)
    if member.status == Status.SUSPENDED:
        return member
    _require_departure_allowed(session, actor, member)
    member.status = Status.SUSPENDED
    seats.record(session, member.organisation_id, "suspended", actor=actor, member=member)
    return member


def resume(session: Session, actor: Member, member_id: uuid.UUID) -> Member:
    """Let a suspended member back in."""
    actor, member = _under_lock(session, actor, member_id)
    if member.status == Status.ACTIVE:
        return member
    member.status = Status.ACTIVE
    seats.record(session, member.organisation_id, "resumed", actor=actor, member=member)
    return member


def remove(session: Session, actor: Member, member_id: uuid.UUID) -> Member:
    """End a membership. The row stays, because money and verdicts refer to it."""
    actor, member = _under_lock(session, actor, member_id)
    _require_departure_allowed(session, actor, member)
    member.status, member.seated = Status.REMOVED, False
    seats.record(session, member.organisation_id, "removed", actor=actor, member=member)
    return member


def change_role(session: Session, actor: Member, member_id: uuid.UUID, role: Role) -> Member:
    """Give a member another role. Only an owner makes owners; the last owner stays one."""
    actor, member = _under_lock(session, actor, member_id)
    before, after = Role(member.role), Role(role)
    if before == after:
        return member
    if after == Role.OWNER and actor.role != Role.OWNER:
        raise NotAllowed("Only an owner can make somebody an owner.")
    if before == Role.OWNER:
        _require_other_owner(session, member)
    member.role = after
    detail = f"{before} -> {after}"
    seats.record(session, member.organisation_id, "role", actor=actor, member=member, detail=detail)
    return member


def require_admin(session: Session, actor: Member) -> Member:
    """Take the organisation's lock and return the actor as they are now.

    Raises `NotAllowed` if they no longer are an active owner or admin.
    """
    seats.lock(session, actor.organisation_id)
    fresh = seats.get_member(session, actor.id)
    if fresh is None or fresh.status != Status.ACTIVE or not seats.may(fresh.role, Page.TEAM):
        raise NotAllowed("Only an owner or an admin can change the team.")
    return fresh


def _under_lock(session: Session, actor: Member, member_id: uuid.UUID) -> tuple[Member, Member]:
    actor = require_admin(session, actor)
    member = seats.get_member(session, member_id)
    if (
        member is None
        or member.organisation_id != actor.organisation_id
        or member.status == Status.REMOVED
    ):
        raise NotFound("There is no such member.")
    if member.role == Role.OWNER and actor.role != Role.OWNER:
        raise NotAllowed("Only an owner can change an owner.")
    return actor, member


def _require_departure_allowed(session: Session, actor: Member, member: Member) -> None:
    if member.role == Role.OWNER:
        _require_other_owner(session, member)
    if member.id == actor.id:
        raise NotAllowed("You cannot suspend or remove yourself. Ask another owner or admin.")


def _require_other_owner(session: Session, member: Member) -> None:
    others = select(func.count()).where(
        Member.organisation_id == member.organisation_id,
        Member.role == Role.OWNER,
        Member.status == Status.ACTIVE,
        Member.id != member.id,
    )
    if session.scalars(others).one() == 0:
        raise Conflict(f"{member.name} is the last owner. Make somebody else an owner first.")
