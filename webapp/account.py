"""What an owner or admin does to the team, each verb whole: the rows, then what must stop.

One transaction of `licensing.roster` or `licensing.invites` decides and writes; what it means for
open sessions and jobs follows below it, after the commit. Whoever is suspended or removed is locked
out by their row from that commit on, so a crash between the two leaves nobody inside: sessions look
at the row, and `webapp.door` cuts streams by it. Called by the team page.
"""

import uuid

from inference import lifecycle
from licensing import invites, roster
from licensing.invites import Invite
from licensing.seats import Member, Role
from webapp.sso import sessions
from webapp.studio import Studio


def invite(
    studio: Studio, actor: Member, *, email: str, role: Role, seated: bool
) -> tuple[Invite, str]:
    """Invite an address; return the invite and its link, which nobody can read again.

    Raises `InvalidEmail`, `Conflict`, `SeatCeilingReached`, `NotAllowed`.
    """
    with studio.database.transaction() as session:
        made, token = invites.invite(session, actor, email=email, role=role, seated=seated)
    return made, f"{studio.settings.url}/invite/{token}"


def revoke_invite(studio: Studio, actor: Member, invite_id: uuid.UUID) -> None:
    """Take a pending invite back: its link stops working and its seat is free. `NotFound`."""
    with studio.database.transaction() as session:
        invites.revoke_invite(session, actor, invite_id)


def change_role(studio: Studio, actor: Member, member_id: uuid.UUID, role: Role) -> Member:
    """Give a member another role; it holds at their next click, and open streams are cut."""
    with studio.database.transaction() as session:
        return roster.change_role(session, actor, member_id, role)


def assign_seat(studio: Studio, actor: Member, member_id: uuid.UUID) -> Member:
    """Let a member generate. Raises `SeatCeilingReached`, `Conflict`, `NotFound`."""
    with studio.database.transaction() as session:
        return roster.assign_seat(session, actor, member_id)


def revoke_seat(studio: Studio, actor: Member, member_id: uuid.UUID) -> Member:
    """Take a seat back and cancel what waits or runs on it; the member stays signed in."""
    with studio.database.transaction() as session:
        member = roster.revoke_seat(session, actor, member_id)
    _cancel_jobs(studio, member)
    return member


def suspend(studio: Studio, actor: Member, member_id: uuid.UUID) -> Member:
    """Lock a member out: sign them out everywhere and cancel their jobs; the seat stays theirs."""
    with studio.database.transaction() as session:
        member = roster.suspend(session, actor, member_id)
    _sign_out(studio, member)
    _cancel_jobs(studio, member)
    return member


def resume(studio: Studio, actor: Member, member_id: uuid.UUID) -> Member:
    """Let a suspended member sign in again."""
    with studio.database.transaction() as session:
        return roster.resume(session, actor, member_id)


def remove(studio: Studio, actor: Member, member_id: uuid.UUID) -> Member:
    """End a membership: sign the person out, cancel their jobs, free the seat.

    Raises `NotFound` the second time, `Conflict` for the last owner.
    """
    with studio.database.transaction() as session:
        member = roster.remove(session, actor, member_id)
    _sign_out(studio, member)
    _cancel_jobs(studio, member)
    return member


def _sign_out(studio: Studio, member: Member) -> None:
    with studio.database.transaction() as session:
        sessions.end_sessions(session, member.id)


def _cancel_jobs(studio: Studio, member: Member) -> None:
    """Jobs stop within one step and cost nothing; the worker hears of it through their rows."""
    with studio.database.transaction() as session:
        lifecycle.cancel_all(session, member.id)
