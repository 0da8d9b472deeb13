"""What owners and admins do to members: suspend, resume, remove, re-role, give and take seats.

Each verb takes the organisation's lock, reads the actor and the member afresh under it, writes one
row of history and returns the member as they are now. A member of another organisation does not
exist for the actor. Ending the sessions and jobs of a member is the web app's part, after commit.
"""

import uuid

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from licensing import seats, teams
from licensing.actors import Actor, record, require_admin, require_colleague
from licensing.db import now
from licensing.errors import Conflict, NotAllowed
from licensing.seats import Member, Role, Status


def assign_seat(session: Session, actor: Actor, member_id: uuid.UUID) -> Member:
    """Let a member generate. Raises `SeatCeilingReached`, `Conflict`, `NotFound`."""
    actor, member = _under_lock(session, actor, member_id)
    if member.seated:
        return member
    if member.status != Status.ACTIVE:
        raise Conflict(f"{member.name} is suspended. Resume them before you assign a seat.")
    seats.require_seat_left(session, actor.organisation_id)
    member.seated, member.seat_asked_at = True, None
    record(session, actor, "seat_assigned", member=member)
    return member


def revoke_seat(session: Session, actor: Actor, member_id: uuid.UUID) -> Member:
    """Take a member's seat back; they keep their pictures and their sign-in."""
    actor, member = _under_lock(session, actor, member_id)
    if not member.seated:
        return member
    member.seated = False
    record(session, actor, "seat_revoked", member=member)
    return member


def suspend(session: Session, actor: Actor, member_id: uuid.UUID) -> Member:
    """Lock a member out until they are resumed; their seat stays theirs."""
    actor, member = _under_lock(session, actor, member_id)
    if member.status == Status.SUSPENDED:
        return member
    _require_departure_allowed(session, actor, member)
    member.status = Status.SUSPENDED
    record(session, actor, "suspended", member=member)
    return member


def resume(session: Session, actor: Actor, member_id: uuid.UUID) -> Member:
    """Let a suspended member back in."""
    actor, member = _under_lock(session, actor, member_id)
    if member.status == Status.ACTIVE:
        return member
    member.status = Status.ACTIVE
    record(session, actor, "resumed", member=member)
    return member


def remove(session: Session, actor: Actor, member_id: uuid.UUID) -> Member:
    """End a membership. The row stays, because money and verdicts refer to it."""
    actor, member = _under_lock(session, actor, member_id)
    _require_departure_allowed(session, actor, member)
    teams.leave_all(session, member)
    member.status, member.seated, member.seat_asked_at = Status.REMOVED, False, None
    record(session, actor, "removed", member=member)
    return member


def change_role(session: Session, actor: Actor, member_id: uuid.UUID, role: Role) -> Member:
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
    record(session, actor, "role", member=member, detail=detail)
    return member


def ask_for_seat(session: Session, member: Member) -> Member:
    """Write down that a member waits for a seat; an admin sees it. Again is harmless.

    Raises `Conflict` for somebody who has one or is not active.
    """
    seats.lock(session, member.organisation_id)
    fresh = seats.get_member(session, member.id)
    if fresh is None or fresh.status != Status.ACTIVE or fresh.seated:
        raise Conflict("You have a seat already." if fresh and fresh.seated else "Ask an admin.")
    if fresh.seat_asked_at is None:
        fresh.seat_asked_at = now()
        seats.record(session, fresh.organisation_id, "seat_asked", member=fresh)
    return fresh


def _under_lock(session: Session, actor: Actor, member_id: uuid.UUID) -> tuple[Actor, Member]:
    actor = require_admin(session, actor)
    member = require_colleague(session, actor, member_id)
    if member.role == Role.OWNER and actor.role != Role.OWNER:
        raise NotAllowed("Only an owner can change an owner.")
    return actor, member


def _require_departure_allowed(session: Session, actor: Actor, member: Member) -> None:
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
