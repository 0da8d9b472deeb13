"""Who changes a team: an owner or admin, a reviewer for cause, or the directory by SCIM.

`require_admin` is the first line of every verb on members, seats, invites, teams and domains: it
takes the organisation's lock and reads the actor afresh under it.
"""

import uuid
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.orm import Session

from licensing import seats
from licensing.errors import NotAllowed, NotFound
from licensing.seats import Member, Page, Role, Status


@dataclass(frozen=True)
class Directory:
    """An organisation's identity provider that provisions by itself, with an owner's rights."""

    organisation_id: uuid.UUID
    label: str

    @property
    def role(self) -> Role:
        return Role.OWNER

    @property
    def id(self) -> None:
        """No member: what it does is written down as nobody's, with its label."""
        return


@dataclass(frozen=True)
class Bench:
    """A reviewer who suspends somebody over a case: the rights of an admin, and a reason."""

    reviewer: Member
    case_id: int

    @property
    def organisation_id(self) -> uuid.UUID:
        return self.reviewer.organisation_id

    @property
    def role(self) -> Role:
        return Role.ADMIN

    @property
    def id(self) -> uuid.UUID:
        return self.reviewer.id


Actor = Member | Directory | Bench
A = TypeVar("A", Member, Directory, Bench, Actor)


def require_admin(session: Session, actor: A) -> A:
    """Take the organisation's lock and return the actor as they are now.

    Raises `NotAllowed` if they no longer are an active owner or admin.
    """
    seats.lock(session, actor.organisation_id)
    if isinstance(actor, Directory):
        return actor
    fresh = seats.get_member(session, actor.id)
    if isinstance(actor, Bench):
        if fresh is None or fresh.status != Status.ACTIVE or not seats.may(fresh.role, Page.REVIEW):
            raise NotAllowed("Only a reviewer or an owner can suspend somebody over a case.")
        return actor
    if fresh is None or fresh.status != Status.ACTIVE or not seats.may(fresh.role, Page.TEAM):
        raise NotAllowed("Only an owner or an admin can change the team.")
    return fresh


def require_colleague(session: Session, actor: Actor, member_id: uuid.UUID) -> Member:
    """Return a member of the actor's organisation; raises `NotFound` for everybody else."""
    member = seats.get_member(session, member_id)
    if (
        member is None
        or member.organisation_id != actor.organisation_id
        or member.status == Status.REMOVED
    ):
        raise NotFound("There is no such member.")
    return member


def record(
    session: Session, actor: Actor, kind: str, *, member: Member | None = None, detail: str = ""
) -> None:
    """Append what `actor` did to the organisation's history."""
    person = actor if isinstance(actor, Member) else None
    if isinstance(actor, Bench):
        person = actor.reviewer
        detail = f"{detail}, case {actor.case_id}" if detail else f"case {actor.case_id}"
    if isinstance(actor, Directory):
        detail = f"{detail}, by {actor.label}" if detail else f"by {actor.label}"
    seats.record(session, actor.organisation_id, kind, actor=person, member=member, detail=detail)
