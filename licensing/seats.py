"""Who belongs to an organisation, in which role, and who holds one of its seats.

Owns the tables `organisation` and `member`. What must hold: seats
taken, which are seated members plus pending invites that carry a seat, never exceed the ceiling.
Every change takes the organisation's row lock first and counts after it, so that two admins at two
desks cannot both hand out the last seat. `licensing.roster` holds the admins' verbs and
`licensing.invites` the way in; both write members through this module.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import seat_days, seat_history, tiers
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict, NotFound
from licensing.team_tables import Team

NAME_CHARACTERS_MAX = 120  # of a person; a provider may send a book
JOINERS = "\u200c\u200d"  # unseen, and part of Persian and Indic names
SEATS_BUSINESS = 50  # what a new organisation begins with; `licensing.tiers` has the plans


class Role(StrEnum):
    """What a member is to the organisation; whether they may generate is `Member.seated`."""

    OWNER = "owner"
    ADMIN = "admin"
    CREATOR = "creator"
    FINANCE = "finance"
    REVIEWER = "reviewer"


class Page(StrEnum):
    """The pages of the studio, one a task."""

    CREATE = "create"
    TEAM = "team"
    FINANCE = "finance"
    REVIEW = "review"


class Status(StrEnum):
    """Where a membership stands. A suspended member keeps the seat until it is revoked."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


READERS = {
    Page.CREATE: frozenset(Role),
    Page.TEAM: frozenset({Role.OWNER, Role.ADMIN}),
    Page.FINANCE: frozenset({Role.OWNER, Role.FINANCE}),
    Page.REVIEW: frozenset({Role.OWNER, Role.REVIEWER}),
}


def may(role: Role | str, page: Page | str) -> bool:
    """Say whether a role opens a page."""
    return Role(role) in READERS[Page(page)]


class NoSeat(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The member may sign in and look, and may not generate."""

    code = "no_seat"
    status = 403


class SeatCeilingReached(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Every seat of the organisation is assigned or held by a pending invite."""

    code = "seat_ceiling_reached"
    status = 409


def require_seat(member: "Member") -> None:
    """Raise `NoSeat` unless the member is active and holds a seat."""
    if member.status != Status.ACTIVE:
        raise NoSeat("Your membership is suspended. An admin of your organisation can resume it.")
    if not member.seated:
        raise NoSeat(
            "You have no seat, so you cannot generate yet. An admin of your organisation can "
            "assign one."
        )


@dataclass(frozen=True)
class SeatUsage:
    """Seats of one organisation: `assigned` + `pending` + `left` = `ceiling`."""

    assigned: int
    pending: int
    ceiling: int

    @property
    def taken(self) -> int:
        """Seats that nobody else can have."""
        return self.assigned + self.pending

    @property
    def left(self) -> int:
        """Seats that can still be given away."""
        return max(self.ceiling - self.taken, 0)


def seat_usage(session: Session, organisation_id: uuid.UUID) -> SeatUsage:
    """Count the seats of an organisation; raises `NotFound`."""
    found = session.execute(_COUNT_SEATS, {"id": organisation_id, "now": now()}).one_or_none()
    if found is None:
        raise NotFound("This organisation does not exist.")
    return SeatUsage(assigned=found.assigned, pending=found.pending, ceiling=found.seat_ceiling)


@dataclass(frozen=True)
class Identity:
    """A person as their sign-in provider names them. (`issuer`, `subject`) is the key."""

    issuer: str
    subject: str
    email: str
    email_verified: bool
    name: str

    @property
    def shown_name(self) -> str:
        """The name on one line, without what cannot be seen and turns the words around it."""
        words = " ".join(self.name.split())
        kept = "".join(c for c in words if c.isprintable() or c in JOINERS)
        return kept[:NAME_CHARACTERS_MAX].strip()

    @property
    def address(self) -> str:
        """The e-mail address in the form in which addresses are compared."""
        return self.email.strip().lower()


def create_organisation(
    session: Session, *, name: str, tier: str = "business", seat_ceiling: int = SEATS_BUSINESS
) -> "Organisation":
    """Found an organisation. Its ledger accounts open with its first top-up.

    Raises `NotFound` for an unknown plan, `Conflict` for more seats than the plan has.
    """
    plan = tiers.find(tier)
    if not plan.allows(seat_ceiling):
        raise Conflict(f"The {plan.name} plan ends at {plan.seats_max} seats.")
    organisation = Organisation(
        id=uuid.uuid4(), name=name, tier=tier, seat_ceiling=seat_ceiling, created_at=now()
    )
    session.add(organisation)
    session.flush()
    return organisation


def add_member(
    session: Session, organisation_id: uuid.UUID, identity: Identity, *, role: Role, seated: bool
) -> "Member":
    """Let a person in without an invite: the first owner, and the people of a demonstration.

    Raises `SeatCeilingReached`, and the database's own error if the person is a member already.
    """
    lock(session, organisation_id)
    if seated:
        require_seat_left(session, organisation_id)
    return join(session, organisation_id, identity, role=role, seated=seated)


def find_member(session: Session, issuer: str, subject: str) -> "Member | None":
    """Find who signed in. A removed member is nobody."""
    query = select(Member).where(
        Member.issuer == issuer, Member.subject == subject, Member.status != Status.REMOVED
    )
    return session.scalars(query).one_or_none()


def get_member(session: Session, member_id: uuid.UUID) -> "Member | None":
    """Read one member, whatever their status."""
    return session.get(Member, member_id, populate_existing=True)


def get_organisation(session: Session, organisation_id: uuid.UUID) -> "Organisation | None":
    """Read one organisation."""
    return session.get(Organisation, organisation_id)


def find_organisation(session: Session, words: str) -> "Organisation":
    """Find an organisation by its id, or by its name if one alone has it; raises `NotFound`."""
    query = select(Organisation)
    try:
        query = query.where(Organisation.id == uuid.UUID(words))
    except ValueError:
        query = query.where(Organisation.name == words)
    found = session.scalars(query.limit(2)).all()
    if len(found) != 1:
        told = "Several organisations are called" if found else "No organisation is called"
        raise NotFound(f"{told} “{words[:80]}”. Give its id.")
    return found[0]


def members(session: Session, organisation_id: uuid.UUID) -> list["Member"]:
    """Everybody who was not removed, by name."""
    query = (
        select(Member)
        .where(Member.organisation_id == organisation_id, Member.status != Status.REMOVED)
        .order_by(Member.name, Member.id)
    )
    return list(session.scalars(query))


def asking(session: Session, organisation_id: uuid.UUID) -> list["Member"]:
    """Who waits for a seat, longest first."""
    query = select(Member).where(
        Member.organisation_id == organisation_id,
        Member.status == Status.ACTIVE,
        Member.seat_asked_at.is_not(None),
    )
    return list(session.scalars(query.order_by(Member.seat_asked_at, Member.id)))


def lock(session: Session, organisation_id: uuid.UUID) -> "Organisation":
    """Take the lock that every change of members or seats is made under; raises `NotFound`."""
    query = (
        select(Organisation)
        .where(Organisation.id == organisation_id)
        .with_for_update(key_share=True)  # money and generations may still refer to the row
        .execution_options(populate_existing=True)
    )
    organisation = session.scalars(query).one_or_none()
    if organisation is None:
        raise NotFound("This organisation does not exist.")
    seat_days.begin(session, organisation_id, now())
    return organisation


def lock_person(session: Session, identity: Identity) -> None:
    """Let one person come in once at a time, by whichever way: two ways may be two organisations.

    The caller holds `lock`, and looks for the member after this.
    """
    key = f"{identity.issuer} {identity.subject}"
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 9))))


def require_seat_left(session: Session, organisation_id: uuid.UUID) -> None:
    """Raise `SeatCeilingReached` if no seat is left. The caller holds `lock`."""
    usage = seat_usage(session, organisation_id)
    if usage.left == 0:
        raise SeatCeilingReached(
            f"All {usage.ceiling} seats are taken: {usage.assigned} assigned, {usage.pending} held "
            "by pending invites. Revoke a seat or an invite first, or "
            f"{_way_up(session, organisation_id, usage)} under /team?view=plan."
        )


def _way_up(session: Session, organisation_id: uuid.UUID, usage: SeatUsage) -> str:
    """Name the step that makes room for one more."""
    tier = tiers.of(session, organisation_id)
    larger = tiers.next_above(tier)
    if tier.allows(usage.ceiling + 1) or larger is None:
        return "buy more seats"
    return f"move to the {larger.name} plan ({tier.name} ends at {tier.seats_max} seats)"


def join(
    session: Session, organisation_id: uuid.UUID, identity: Identity, *, role: Role, seated: bool
) -> "Member":
    """Write the membership, anew or over the removed one of the same person.

    The caller holds `lock` and has made sure of the seat.
    """
    query = select(Member).where(
        Member.organisation_id == organisation_id,
        Member.issuer == identity.issuer,
        Member.subject == identity.subject,
        Member.status == Status.REMOVED,
    )
    member = session.scalars(query.order_by(Member.created_at.desc())).first()
    if member is None:
        member = Member(id=uuid.uuid4(), organisation_id=organisation_id, created_at=now())
        member.issuer, member.subject = identity.issuer, identity.subject
        session.add(member)
    member.email, member.name = identity.address, identity.shown_name or identity.address
    member.role, member.status, member.seated = role, Status.ACTIVE, seated
    record(session, organisation_id, "joined", member=member, detail=f"{role}, seat: {seated}")
    return member


def record(
    session: Session,
    organisation_id: uuid.UUID,
    kind: str,
    *,
    actor: "Member | None" = None,
    member: "Member | None" = None,
    detail: str = "",
) -> None:
    """Append to the history, with the number of seats taken after the change."""
    session.flush()
    seats_taken = seat_usage(session, organisation_id).taken
    seat_history.append(
        session,
        organisation_id,
        kind,
        actor_id=actor.id if actor else None,
        member_id=member.id if member else None,
        detail=detail,
        seats_taken=seats_taken,
    )
    seat_days.rise(session, organisation_id, seats_taken, now())


class Organisation(Base):
    """A customer: a team with seats, a balance and one set of rules."""

    __tablename__ = "organisation"
    __table_args__ = (CheckConstraint("seat_ceiling >= 0", name="ceiling"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    tier: Mapped[str]
    seat_ceiling: Mapped[int]
    created_at: Mapped[datetime]


class Member(Base):
    """A person in an organisation. One role; `seated` says whether they may generate."""

    __tablename__ = "member"
    __table_args__ = (
        CheckConstraint(
            "role IN ('owner', 'admin', 'creator', 'finance', 'reviewer')", name="role"
        ),
        CheckConstraint("status IN ('active', 'suspended', 'removed')", name="status"),
        CheckConstraint("status <> 'removed' OR NOT seated", name="removed_unseated"),
        UniqueConstraint("id", "organisation_id"),  # so that a hold can name both together
        ForeignKeyConstraint(["team_id", "organisation_id"], [Team.id, Team.organisation_id]),
        Index(
            "ix_member_issuer_subject",
            "issuer",
            "subject",
            unique=True,
            postgresql_where=text("status <> 'removed'"),
        ),
        Index("ix_member_organisation_id", "organisation_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    issuer: Mapped[str]
    subject: Mapped[str]
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    status: Mapped[str]
    seated: Mapped[bool]
    created_at: Mapped[datetime]
    team_id: Mapped[uuid.UUID | None]  # the team that pays; None is the organisation itself
    seat_asked_at: Mapped[datetime | None]  # they wait for an admin to give them a seat


# Both counts in one statement see one moment, so that an invite that turns into a member is
# counted once. A pending invite is one that was neither used nor revoked and has not run out.
_COUNT_SEATS = text(
    """
    SELECT organisation.seat_ceiling,
           (SELECT count(*) FROM member
             WHERE member.organisation_id = organisation.id AND member.seated) AS assigned,
           (SELECT count(*) FROM invite
             WHERE invite.organisation_id = organisation.id AND invite.seated
               AND invite.accepted_at IS NULL AND invite.revoked_at IS NULL
               AND invite.expires_at > :now) AS pending
      FROM organisation WHERE organisation.id = :id
    """
)
