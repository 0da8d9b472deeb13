"""How organisations and members are written: under one lock, each change with a row of history."""

import uuid

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from licensing import seat_days, seat_history, tiers
from licensing.db import now
from licensing.errors import Conflict, NotFound
from licensing.seats.ceiling import require_seat_left, seat_usage
from licensing.seats.people import Identity, Member, Organisation
from licensing.seats.roles import Role, Status

SEATS_BUSINESS = 50  # what a new organisation begins with; `licensing.tiers` has the plans


def create_organisation(
    session: Session, *, name: str, tier: str = "business", seat_ceiling: int = SEATS_BUSINESS
) -> Organisation:
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
) -> Member:
    """Let a person in without an invite: the first owner, and the people of a demonstration.

    Raises `SeatCeilingReached`, and the database's own error if the person is a member already.
    """
    lock(session, organisation_id)
    if seated:
        require_seat_left(session, organisation_id)
    return join(session, organisation_id, identity, role=role, seated=seated)


def lock(session: Session, organisation_id: uuid.UUID) -> Organisation:
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


def join(
    session: Session, organisation_id: uuid.UUID, identity: Identity, *, role: Role, seated: bool
) -> Member:
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
    actor: Member | None = None,
    member: Member | None = None,
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
