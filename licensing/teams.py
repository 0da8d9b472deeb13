"""Teams inside an organisation: who belongs to which, and which one pays for whose pictures.

Writes the tables of `licensing.team_tables`; `member.team_id` is the paying team, one that the
member belongs to. Names are unique among the teams of an organisation that are not archived,
whatever their letters' case. Every verb takes the organisation's lock and writes history. Groups of
the organisation's directory are teams with an `external_id`.
"""

import uuid
from collections.abc import Iterable

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from licensing import tiers
from licensing.actors import Actor, record, require_admin, require_colleague
from licensing.db import now
from licensing.errors import AtelierError, Conflict, NotFound
from licensing.seats import Member
from licensing.team_tables import Team, TeamMember

NAME_CHARACTERS_MAX = 80  # fits one line of a page and of a bill
COST_CENTRE_CHARACTERS_MAX = 64  # as long as a project tag
TEAMS_MAX = 200  # an organisation; a directory that sends more is set up wrongly


class InvalidTeam(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A name or a cost centre that cannot stand on a page and on a bill."""

    code = "invalid_team"
    status = 422


def create(
    session: Session,
    actor: Actor,
    *,
    name: str,
    cost_centre: str | None = None,
    external_id: str | None = None,
) -> Team:
    """Found a team. Raises `InvalidTeam`, `Conflict` (the name is taken), `TierRequired`."""
    actor = require_admin(session, actor)
    tiers.require(session, actor.organisation_id, "teams")
    shown = _name(name)
    _require_free(session, actor, shown, external_id, None)
    count = select(func.count()).where(Team.organisation_id == actor.organisation_id, _living())
    if session.scalars(count).one() >= TEAMS_MAX:
        raise Conflict(f"An organisation has at most {TEAMS_MAX} teams. Archive one first.")
    made = Team(
        id=uuid.uuid4(),
        organisation_id=actor.organisation_id,
        name=shown,
        name_key=shown.casefold(),
        cost_centre=_cost_centre(cost_centre),
        external_id=external_id,
        created_at=now(),
    )
    session.add(made)
    record(session, actor, "team_created", detail=shown)
    return made


def rename(
    session: Session,
    actor: Actor,
    team_id: uuid.UUID,
    *,
    name: str | None = None,
    cost_centre: str | None = None,
) -> Team:
    """Give a team another name, another cost centre, or both; `""` takes the cost centre away.

    Bills that are written keep the names that they were written with. Raises `InvalidTeam`,
    `Conflict`, `NotFound`.
    """
    actor = require_admin(session, actor)
    team = _find(session, actor, team_id)
    before = _describe(team)
    if name is not None:
        shown = _name(name)
        _require_free(session, actor, shown, None, team)
        team.name, team.name_key = shown, shown.casefold()
    if cost_centre is not None:
        team.cost_centre = _cost_centre(cost_centre)
    if _describe(team) != before:
        record(session, actor, "team_renamed", detail=f"{before} -> {_describe(team)}")
    return team


def set_external_id(
    session: Session, actor: Actor, team_id: uuid.UUID, external_id: str | None
) -> Team:
    """Tie a team to a group of the directory, or untie it. Raises `Conflict`, `NotFound`."""
    actor = require_admin(session, actor)
    team = _find(session, actor, team_id)
    if external_id is not None:
        _require_free(session, actor, team.name, external_id, team)
    if team.external_id != external_id:
        team.external_id = external_id
        record(session, actor, "team_linked", detail=team.name)
    return team


def archive(session: Session, actor: Actor, team_id: uuid.UUID) -> Team:
    """End a team: nobody belongs to it any more, and its name is free. Bills keep it."""
    actor = require_admin(session, actor)
    team = _find(session, actor, team_id)
    for member in members_of(session, team.id):
        _leave(session, actor, team, member)
    team.archived_at, team.external_id = now(), None
    record(session, actor, "team_archived", detail=team.name)
    return team


def add(session: Session, actor: Actor, team_id: uuid.UUID, member_id: uuid.UUID) -> Team:
    """Let a member belong to a team; their first team pays for them. Again is harmless."""
    actor = require_admin(session, actor)
    team = _find(session, actor, team_id)
    _join(session, actor, team, require_colleague(session, actor, member_id))
    return team


def remove(session: Session, actor: Actor, team_id: uuid.UUID, member_id: uuid.UUID) -> Team:
    """Take a member out of a team; if it paid for them, another team of theirs does, or none."""
    actor = require_admin(session, actor)
    team = _find(session, actor, team_id)
    _leave(session, actor, team, require_colleague(session, actor, member_id))
    return team


def set_members(
    session: Session, actor: Actor, team_id: uuid.UUID, member_ids: Iterable[uuid.UUID]
) -> Team:
    """Make exactly these members the team's, as a directory that replaces a group says.

    Raises `NotFound` if one of them is not a member, with nothing changed.
    """
    actor = require_admin(session, actor)
    team = _find(session, actor, team_id)
    wanted = {id_: require_colleague(session, actor, id_) for id_ in member_ids}
    for member in members_of(session, team.id):
        if wanted.pop(member.id, None) is None:
            _leave(session, actor, team, member)
    for member in wanted.values():
        _join(session, actor, team, member)
    return team


def set_paying_team(
    session: Session, actor: Actor, member_id: uuid.UUID, team_id: uuid.UUID | None
) -> Member:
    """Choose which of a member's teams pays from the next picture on; None is the organisation.

    Raises `Conflict` for a team that the member does not belong to, `NotFound`.
    """
    actor = require_admin(session, actor)
    member = require_colleague(session, actor, member_id)
    team = None if team_id is None else _find(session, actor, team_id)
    if team is not None and team not in teams_of(session, member.id):
        raise Conflict(f"{member.name} does not belong to {team.name}. Add them first.")
    if member.team_id != team_id:
        member.team_id = team_id
        name = team.name if team else "the organisation"
        record(session, actor, "team_pays", member=member, detail=name)
    return member


def join_first(session: Session, member: Member, team_id: uuid.UUID) -> None:
    """Put somebody who just came in into the team that their invite named, if it still is there.

    The caller holds the organisation's lock and has written the history.
    """
    team = session.get(Team, team_id)
    if team is None or team.archived_at is not None:
        return
    session.flush()
    _write_membership(session, team, member)


def leave_all(session: Session, member: Member) -> None:
    """Take somebody who goes out of every team. The caller holds the organisation's lock."""
    member.team_id = None
    session.execute(delete(TeamMember).where(TeamMember.member_id == member.id))


def get(session: Session, organisation_id: uuid.UUID, team_id: uuid.UUID) -> Team:
    """Read a living team of an organisation; raises `NotFound`."""
    query = select(Team).where(
        Team.id == team_id, Team.organisation_id == organisation_id, _living()
    )
    team = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if team is None:
        raise NotFound("There is no such team.")
    return team


def teams(session: Session, organisation_id: uuid.UUID) -> list[Team]:
    """The living teams of an organisation, by name."""
    query = select(Team).where(Team.organisation_id == organisation_id, _living())
    return list(session.scalars(query.order_by(Team.name_key, Team.id)))


def members_of(session: Session, team_id: uuid.UUID) -> list[Member]:
    """Who belongs to a team, by name."""
    query = select(Member).join(TeamMember, TeamMember.member_id == Member.id)
    query = query.where(TeamMember.team_id == team_id)
    return list(session.scalars(query.order_by(Member.name, Member.id)))


def teams_of(session: Session, member_id: uuid.UUID) -> list[Team]:
    """The living teams that a member belongs to, by name."""
    query = select(Team).join(TeamMember, TeamMember.team_id == Team.id)
    query = query.where(TeamMember.member_id == member_id, _living())
    return list(session.scalars(query.order_by(Team.name_key, Team.id)))


def _find(session: Session, actor: Actor, team_id: uuid.UUID) -> Team:
    return get(session, actor.organisation_id, team_id)


def _join(session: Session, actor: Actor, team: Team, member: Member) -> None:
    if _write_membership(session, team, member):
        record(session, actor, "team_joined", member=member, detail=team.name)


def _write_membership(session: Session, team: Team, member: Member) -> bool:
    """Add the row; the first team pays. False if they belonged to it already."""
    row = {
        "team_id": team.id,
        "member_id": member.id,
        "organisation_id": team.organisation_id,
        "added_at": now(),
    }
    statement = insert(TeamMember).values(row).on_conflict_do_nothing()
    is_new = session.execute(statement.returning(TeamMember.member_id)).first() is not None
    if is_new and member.team_id is None:
        member.team_id = team.id
    return is_new


def _leave(session: Session, actor: Actor, team: Team, member: Member) -> None:
    gone = session.execute(
        delete(TeamMember)
        .where(TeamMember.team_id == team.id, TeamMember.member_id == member.id)
        .returning(TeamMember.member_id)
    ).first()
    if gone is None:
        return
    if member.team_id == team.id:
        others = teams_of(session, member.id)
        member.team_id = others[0].id if others else None
    record(session, actor, "team_left", member=member, detail=team.name)


def _require_free(
    session: Session,
    actor: Actor,
    name: str,
    external_id: str | None,
    besides: Team | None,
) -> None:
    for other in teams(session, actor.organisation_id):
        if besides is not None and other.id == besides.id:
            continue
        if other.name_key == name.casefold():
            raise Conflict(f"There is a team called “{other.name}” already.")
        if external_id is not None and other.external_id == external_id:
            raise Conflict(f"The directory's group is tied to “{other.name}” already.")


def _name(given: str) -> str:
    name = " ".join(given.split())
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise InvalidTeam(f"Give the team a name of 1 to {NAME_CHARACTERS_MAX} characters.")
    return name


def _cost_centre(given: str | None) -> str | None:
    words = " ".join((given or "").split())
    if len(words) > COST_CENTRE_CHARACTERS_MAX or not words.isprintable():
        raise InvalidTeam(
            f"A cost centre has at most {COST_CENTRE_CHARACTERS_MAX} printable characters."
        )
    return words or None


def _describe(team: Team) -> str:
    return f"{team.name} ({team.cost_centre})" if team.cost_centre else team.name


def _living() -> ColumnElement[bool]:
    return Team.archived_at.is_(None)
