"""What the team page shows: seats, members, pending invites and what changed, read as one value.

Also the words for roles and for each kind of change, so that a page, a sheet and an invite call
the same thing by the same name. Reads only; `webapp.account` writes.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing import invites, seat_history, seats
from licensing.invites import Invite
from licensing.seat_history import SeatChange
from licensing.seats import Member, Role, SeatUsage

MEMBERS_ON_PAGE = 50  # a screen's scroll; the search finds the others


class RoleWords(NamedTuple):
    """A role as people read it: its name, and what it opens."""

    name: str
    opens: str


ROLES = {
    Role.OWNER: RoleWords("Owner", "Everything: the team, the money and the review."),
    Role.ADMIN: RoleWords("Admin", "Invites people, gives roles and seats."),
    Role.CREATOR: RoleWords("Creator", "Makes pictures, with a seat."),
    Role.FINANCE: RoleWords("Finance", "Sees balance and usage, downloads the bill."),
    Role.REVIEWER: RoleWords("Reviewer", "Looks at refused prompts and pictures."),
}

_CHANGES = {
    "joined": "joined",
    "invited": "invited",
    "invite_revoked": "took back the invite of",
    "seat_assigned": "gave a seat to",
    "seat_revoked": "took the seat of",
    "suspended": "suspended",
    "resumed": "resumed",
    "removed": "removed",
    "role": "changed the role of",
    "invite_renewed": "sent the invite again to",
    "seat_asked": "asked for a seat",
    "team_created": "founded the team",
    "team_renamed": "renamed the team",
    "team_linked": "tied to the directory the team",
    "team_archived": "ended the team",
    "team_joined": "added to a team",
    "team_left": "took out of a team",
    "team_pays": "chose the team that pays for",
    "domain_added": "claimed the domain",
    "domain_verified": "proved the domain",
    "domain_lapsed": "its record is gone; no longer proved: the domain",
    "domain_policy": "changed the rule of the domain",
    "domain_issuer": "chose the sign-in provider of the domain",
    "domain_removed": "gave up the domain",
    "ceiling": "changed the number of seats",
    "budget": "set the budget of",
    "api_key_made": "made an API key for",
    "api_key_revoked": "revoked an API key of",
    "pictures_handed_on": "handed on the pictures of",
    "pictures_exported": "took out the pictures of",
    "pictures_erased": "erased the pictures of",
    "forgotten": "had forgotten",
    "plan": "changed the plan",
    "directory": "connected the directory",
    "scim_token_made": "made a token for the directory",
    "scim_token_revoked": "revoked a token of the directory",
    "provisioned": "added from the directory",
    "linked": "signed in for the first time",
}
# Where nobody is named, these were done by a command, the subscription or the directory.
_BY_THE_STUDIO = frozenset(_CHANGES) - {"joined", "seat_asked", "linked"}


@dataclass(frozen=True)
class Change:
    """One line of the history, ready to read."""

    who: str
    did: str
    whom: str
    seats_taken: int
    at: datetime


@dataclass(frozen=True)
class Team:
    """One page of a team. `total` members, of whom `found` fit the search."""

    organisation: str
    plan: str
    seats: SeatUsage
    people: list[Member]
    total: int
    found: int
    page: int
    pages: int
    pending: list[Invite]


def read_team(session: Session, organisation_id: uuid.UUID, *, words: str, page: int) -> Team:
    """Read a page of the team; `words` are looked for in names and addresses, `page` is from 1."""
    organisation = seats.get_organisation(session, organisation_id)
    assert organisation is not None, "a member's organisation exists"
    everybody = seats.members(session, organisation_id)
    found = [person for person in everybody if _fits(person, words)]
    pages = max(-(-len(found) // MEMBERS_ON_PAGE), 1)
    page = min(max(page, 1), pages)
    return Team(
        organisation=organisation.name,
        plan=organisation.tier.capitalize(),
        seats=seats.seat_usage(session, organisation_id),
        people=found[(page - 1) * MEMBERS_ON_PAGE : page * MEMBERS_ON_PAGE],
        total=len(everybody),
        found=len(found),
        page=page,
        pages=pages,
        pending=invites.invites(session, organisation_id),
    )


def role_name(role: str) -> str:
    """Name a role for people: `Admin`."""
    return ROLES[Role(role)].name


def initials(name: str) -> str:
    """The letters that stand for a person: `AL` for Ada Lovelace."""
    return "".join(word[0] for word in name.split()[:2]).upper() or "?"


def _fits(person: Member, words: str) -> bool:
    wanted = words.strip().casefold()
    return wanted in person.name.casefold() or wanted in person.email.casefold()


def organisation_name(session: Session, organisation_id: uuid.UUID) -> str:
    """Read what the organisation is called."""
    organisation = seats.get_organisation(session, organisation_id)
    assert organisation is not None, "a member's organisation exists"
    return organisation.name


def read_changes(
    session: Session, organisation_id: uuid.UUID, *, limit: int, before_id: int | None
) -> tuple[list[Change], int | None]:
    """A page of the history, newest first, and the id before which the next one begins."""
    rows = seat_history.changes(session, organisation_id, limit=limit + 1, before_id=before_id)
    older = rows[limit - 1].id if len(rows) > limit else None
    return _readable(session, rows[:limit]), older


def _readable(session: Session, rows: list[SeatChange]) -> list[Change]:
    ids = {id_ for row in rows for id_ in (row.member_id, row.actor_id) if id_ is not None}
    known = session.execute(select(Member.id, Member.name).where(Member.id.in_(ids)))
    names = {row.id: row.name for row in known}
    return [_change(row, names) for row in rows]


def _change(row: SeatChange, names: dict[uuid.UUID, str]) -> Change:
    whom = names.get(row.member_id, "") if row.member_id else row.detail
    if row.actor_id is None and row.kind not in _BY_THE_STUDIO:
        who, whom = whom, ""  # they came by themselves
    elif row.actor_id is None:
        who = "The studio"
    else:
        who = names.get(row.actor_id, "")
    did = _CHANGES.get(row.kind, row.kind)
    if row.kind == "role":
        before, _, after = row.detail.partition(" -> ")
        whom = f"{whom} from {before} to {after}"
    if row.kind == "budget" and row.member_id:
        whom = f"{whom}, {row.detail}"
    return Change(who=who, did=did, whom=whom, seats_taken=row.seats_taken, at=row.at)
