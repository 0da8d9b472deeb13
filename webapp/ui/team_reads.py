"""What each view of the team page shows, read as values ready to draw. Reads only."""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing import (
    api_keys,
    budget_limits,
    departures,
    directories,
    documents,
    domains,
    licence,
    model_switches,
    payments,
    policy,
    prompt_rules,
    seat_days,
    seats,
    teams,
    tiers,
)
from licensing.budget_limits import Budget
from licensing.db import now
from licensing.seat_days import DayHigh
from licensing.seats import Member
from licensing.team_tables import Team, TeamMember
from webapp.ui import people

DAYS_SHOWN = 30  # of the daily record of seats
LEAVERS_SHOWN = 500  # in a list that scrolls; who was erased is not in it any more
CHANGES_ON_PAGE = 50
# What an action of the use policy means to whoever sets it.
ACTION_WORDS = {
    "label": "Made, and noted",
    "review": "Made, and a reviewer looks",
    "block": "Refused",
}


@dataclass(frozen=True)
class Limits:
    """What one subject may spend; None is no limit."""

    day_micros: int | None
    month_micros: int | None


NO_LIMITS = Limits(day_micros=None, month_micros=None)


@dataclass(frozen=True)
class Group:
    """A team with the names of its people and its limits."""

    team: Team
    names: list[str]
    limits: Limits


@dataclass(frozen=True)
class DayBar:
    """One day of the record of seats; `permille` of the chart's height."""

    day: date
    high_water: int
    permille: int
    is_recorded: bool


def read_groups(session: Session, actor: Member) -> dict[str, Any]:
    """Teams, and every limit: the organisation's default, teams' and members'."""
    limits = _by_subject(budget_limits.limits(session, actor.organisation_id))
    names = _names_by_team(session, actor.organisation_id)
    return {
        "can_team": tiers.of(session, actor.organisation_id).features >= {"teams"},
        "default": limits.get(("organisation_default", None), NO_LIMITS),
        "groups": [
            Group(
                team=team,
                names=names[team.id],
                limits=limits.get(("team", team.id), NO_LIMITS),
            )
            for team in teams.teams(session, actor.organisation_id)
        ],
        "limited": [
            (member, limits["member", member.id])
            for member in seats.members(session, actor.organisation_id)
            if ("member", member.id) in limits
        ],
    }


def read_plan(session: Session, actor: Member) -> dict[str, Any]:
    """The plan and its subscription, the record of seats, the licence, documents on file."""
    overview = payments.overview(session, actor.organisation_id)
    today = now().date()
    first = today - timedelta(days=DAYS_SHOWN - 1)
    known = {day.day: day for day in seat_days.days(session, actor.organisation_id, first, today)}
    days = [first + timedelta(days=number) for number in range(DAYS_SHOWN)]
    highest = max((day.high_water for day in known.values()), default=0)
    return {
        "subscription": overview.subscription,
        "offered": tiers.offered(),
        "asking": seats.asking(session, actor.organisation_id),
        "days": [_bar(day, known.get(day), highest or 1) for day in days],
        "highest": highest,
        "state": licence.standing(session),
        "off": list(model_switches.revoked(session).values()),
        "documents": documents.on_file(session, actor.organisation_id),
        "preview": None,
        "problem": "",
        "wanted": None,
    }


def read_joining(session: Session, actor: Member) -> dict[str, Any]:
    """Domains by which people join; what an import would do is added by its route."""
    return {
        "domains": domains.domains(session, actor.organisation_id),
        "directory": directories.get(session, actor.organisation_id),
        "tokens": directories.tokens(session, actor.organisation_id),
        "new_token": "",
        "tier": tiers.of(session, actor.organisation_id),
        "import_text": "",
        "import_plan": None,
        "import_problem": "",
        "links": [],
    }


def read_access(session: Session, actor: Member, before_id: int | None) -> dict[str, Any]:
    """API keys of everybody, who left with pictures behind, and the whole history by pages."""
    changes, older = people.read_changes(
        session, actor.organisation_id, limit=CHANGES_ON_PAGE, before_id=before_id
    )
    return {
        "keys": api_keys.keys(session, actor.organisation_id),
        "leavers": departures.leavers(session, actor.organisation_id, limit=LEAVERS_SHOWN),
        "changes": changes,
        "older": older,
        "is_older": before_id is not None,
    }


def limits_of(
    session: Session, organisation_id: uuid.UUID, scope: str, id_: uuid.UUID | None
) -> Limits:
    """Read the limits of one subject."""
    found = _by_subject(budget_limits.limits(session, organisation_id))
    return found.get((scope, id_), NO_LIMITS)


def _bar(day: date, known: DayHigh | None, most: int) -> DayBar:
    """A day before the first record is a day without seats."""
    if known is None:
        return DayBar(day, 0, 0, is_recorded=True)
    permille = known.high_water * 1000 // most
    return DayBar(day, known.high_water, permille, is_recorded=known.is_recorded)


def _by_subject(found: list[Budget]) -> dict[tuple[str, uuid.UUID | None], Limits]:
    """Sort limits by whose they are, in one pass: a thousand members may have their own."""
    sorted_: dict[tuple[str, uuid.UUID | None], dict[str, int]] = defaultdict(dict)
    for budget in found:
        sorted_[budget.scope, budget.subject_id][budget.period] = budget.limit_micros
    return {
        subject: Limits(day_micros=own.get("day"), month_micros=own.get("month"))
        for subject, own in sorted_.items()
    }


def _names_by_team(session: Session, organisation_id: uuid.UUID) -> dict[uuid.UUID, list[str]]:
    """The names of everybody in each team, in one query for all teams."""
    query = (
        select(TeamMember.team_id, Member.name)
        .join(Member, Member.id == TeamMember.member_id)
        .where(TeamMember.organisation_id == organisation_id)
        .order_by(Member.name, Member.id)
    )
    names: dict[uuid.UUID, list[str]] = defaultdict(list)
    for team_id, name in session.execute(query):
        names[team_id].append(name)
    return names


@dataclass(frozen=True)
class PolicyChange:
    """One change of the use policy, ready to read."""

    name: str
    action: str
    reason: str
    by: str
    at: datetime


def read_policy(session: Session, actor: Member) -> dict[str, Any]:
    """Read how strict each category is, and the latest changes."""
    categories = prompt_rules.load().categories
    rows = policy.history(session, actor.organisation_id, limit=CHANGES_ON_PAGE)
    wanted = {row.member_id for row in rows if row.member_id is not None}
    found = session.execute(select(Member.id, Member.name).where(Member.id.in_(wanted)))
    names = {row.id: row.name for row in found}
    return {
        "standings": policy.standings(session, actor.organisation_id),
        "action_words": ACTION_WORDS,
        "changes": [
            PolicyChange(
                name=categories[row.category].name if row.category in categories else row.category,
                action=row.action,
                reason=row.reason,
                by=names.get(row.member_id, "The operator") if row.member_id else "The operator",
                at=row.at,
            )
            for row in rows
        ],
    }
