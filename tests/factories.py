"""The people and the money that tests begin with. Each function writes real rows."""

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from licensing import ledger, seats
from licensing.db import Database
from licensing.money import MICROS_PER_USD
from licensing.seats import Identity, Member, Organisation, Role

ISSUER = "https://sso.example"


@dataclass(frozen=True)
class Team:
    """An organisation with one active member of each role; owner, admin and creator are seated."""

    organisation: Organisation
    owner: Member
    admin: Member
    creator: Member
    finance: Member
    reviewer: Member

    @property
    def id(self) -> uuid.UUID:
        return self.organisation.id


def team(
    database: Database, *, balance_micros: int = 10 * MICROS_PER_USD, seat_ceiling: int = 50
) -> Team:
    """Commit a whole team with a funded wallet."""
    with database.transaction() as session:
        tier = "business" if seat_ceiling <= seats.SEATS_BUSINESS else "enterprise"
        organisation = seats.create_organisation(
            session, name="Studio Nord", tier=tier, seat_ceiling=seat_ceiling
        )
        made = Team(
            organisation=organisation,
            owner=member(session, organisation, Role.OWNER, name="Olga Owner"),
            admin=member(session, organisation, Role.ADMIN, name="Amir Admin"),
            creator=member(session, organisation, Role.CREATOR, name="Cleo Creator"),
            finance=member(session, organisation, Role.FINANCE, name="Fay Finance", seated=False),
            reviewer=member(session, organisation, Role.REVIEWER, name="Rui Review", seated=False),
        )
        if balance_micros:
            fund(session, organisation, balance_micros)
    return made


def member(
    session: Session,
    organisation: Organisation,
    role: Role = Role.CREATOR,
    *,
    name: str = "Mika Member",
    seated: bool = True,
) -> Member:
    """Let a new person in, without an invite."""
    return seats.add_member(session, organisation.id, identity(name), role=role, seated=seated)


def identity(name: str = "Mika Member", *, email: str | None = None) -> Identity:
    """A person nobody has seen before, with a verified address."""
    subject = uuid.uuid4().hex
    address = email or f"{name.split(maxsplit=1)[0].lower()}.{subject[:8]}@nord.example"
    return Identity(issuer=ISSUER, subject=subject, email=address, email_verified=True, name=name)


def fund(session: Session, organisation: Organisation, amount_micros: int) -> None:
    """Top the wallet up."""
    key = uuid.uuid4().hex
    ledger.top_up(session, organisation.id, amount_micros, key=key, author_id=None, note="test")
