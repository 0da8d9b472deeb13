"""What an owner or admin does to the team, each verb whole: the rows, then what must stop.

Whoever is suspended or removed loses sessions, API keys and jobs in the transaction that says so: a
crash leaves all of it done or nothing. From its commit on every request asks the row, open streams
are cut within half a second (`webapp.door`), a running job stops at its next step, and a submit
that was under way asks again (`webapp.generate`). The locks are taken in the order organisation,
lane, generation, budgets, hold, wallet. Called by the team page and by SCIM.
"""

import uuid

from sqlalchemy.orm import Session

from inference import lifecycle
from licensing import api_keys, roster, teams
from licensing.actors import Actor
from licensing.seats import Member, Role
from licensing.team_tables import Team
from webapp.sso import sessions
from webapp.studio import Studio


def change_role(studio: Studio, actor: Actor, member_id: uuid.UUID, role: Role) -> Member:
    """Give a member another role; it holds at their next click, and open streams are cut."""
    with studio.database.transaction() as session:
        return roster.change_role(session, actor, member_id, role)


def assign_seat(studio: Studio, actor: Actor, member_id: uuid.UUID) -> Member:
    """Let a member generate. Raises `SeatCeilingReached`, `Conflict`, `NotFound`."""
    with studio.database.transaction() as session:
        return roster.assign_seat(session, actor, member_id)


def revoke_seat(studio: Studio, actor: Actor, member_id: uuid.UUID) -> Member:
    """Take a seat back and cancel what waits or runs on it; the member stays signed in."""
    with studio.database.transaction() as session:
        member = roster.revoke_seat(session, actor, member_id)
        lifecycle.cancel_all(session, member.id)
    return member


def suspend(studio: Studio, actor: Actor, member_id: uuid.UUID) -> Member:
    """Lock a member out: sign them out, end their keys and jobs; the seat stays theirs."""
    with studio.database.transaction() as session:
        member = roster.suspend(session, actor, member_id)
        shut_out(session, member)
    return member


def resume(studio: Studio, actor: Actor, member_id: uuid.UUID) -> Member:
    """Let a suspended member sign in again; API keys that were ended stay ended."""
    with studio.database.transaction() as session:
        return roster.resume(session, actor, member_id)


def remove(studio: Studio, actor: Actor, member_id: uuid.UUID) -> Member:
    """End a membership: sign the person out, end their keys and jobs, free the seat.

    Raises `NotFound` the second time, `Conflict` for the last owner. What becomes of the pictures
    is chosen afterwards, in `webapp.departures`.
    """
    with studio.database.transaction() as session:
        member = roster.remove(session, actor, member_id)
        shut_out(session, member)
    return member


def create_team(
    studio: Studio, actor: Member, *, name: str, cost_centre: str | None = None
) -> Team:
    """Found a team. Raises `InvalidTeam`, `Conflict`, `TierRequired`."""
    with studio.database.transaction() as session:
        return teams.create(session, actor, name=name, cost_centre=cost_centre)


def rename_team(
    studio: Studio,
    actor: Member,
    team_id: uuid.UUID,
    *,
    name: str | None = None,
    cost_centre: str | None = None,
) -> Team:
    """Give a team another name or cost centre; bills that are written keep the old ones."""
    with studio.database.transaction() as session:
        return teams.rename(session, actor, team_id, name=name, cost_centre=cost_centre)


def archive_team(studio: Studio, actor: Member, team_id: uuid.UUID) -> Team:
    """End a team: nobody belongs to it any more. Raises `NotFound`."""
    with studio.database.transaction() as session:
        return teams.archive(session, actor, team_id)


def add_to_team(studio: Studio, actor: Member, team_id: uuid.UUID, member_id: uuid.UUID) -> Team:
    """Let a member belong to a team; their first one pays for them."""
    with studio.database.transaction() as session:
        return teams.add(session, actor, team_id, member_id)


def remove_from_team(
    studio: Studio, actor: Member, team_id: uuid.UUID, member_id: uuid.UUID
) -> Team:
    """Take a member out of a team."""
    with studio.database.transaction() as session:
        return teams.remove(session, actor, team_id, member_id)


def set_paying_team(
    studio: Studio, actor: Member, member_id: uuid.UUID, team_id: uuid.UUID | None
) -> Member:
    """Choose which of a member's teams pays from the next picture on; None: the organisation."""
    with studio.database.transaction() as session:
        return teams.set_paying_team(session, actor, member_id, team_id)


def shut_out(session: Session, member: Member) -> None:
    """End all that acts for a member who was just suspended or removed, in the same transaction.

    Jobs stop within one step and cost nothing.
    """
    sessions.end_sessions(session, member.id)
    api_keys.revoke_all(session, member.id)
    lifecycle.cancel_all(session, member.id)  # the wallet's lock comes last
