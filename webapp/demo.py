"""The demonstration: one invented organisation with one person a role, and $25 to spend.

Seeded at the start of a studio without a configured provider, and only into an empty database. The
people sign in through `webapp.sso.demo_provider`, by the same code as everybody else.
"""

from dataclasses import dataclass

from sqlalchemy import select

from licensing import ledger, licence, seats
from licensing.db import Database
from licensing.seats import Identity, Organisation, Role
from webapp.settings import DEMO_ISSUER

ORGANISATION_NAME = "Demo Atelier"
TOP_UP_MICROS = 25_000_000
TOP_UP_NOTE = "Demonstration money: nobody paid it"
ATTESTED_BY = "The demonstration itself"


@dataclass(frozen=True)
class Person:
    """Somebody who does not exist, and what they may do in the demonstration."""

    subject: str
    name: str
    email: str
    role: Role
    seated: bool
    purpose: str


PEOPLE = (
    Person(
        "demo-creator",
        "Cleo Marchetti",
        "cleo@demo.example",
        Role.CREATOR,
        True,
        "Writes prompts and makes pictures",
    ),
    Person(
        "demo-admin",
        "Adaeze Lindqvist",
        "adaeze@demo.example",
        Role.ADMIN,
        True,
        "Invites people and hands out seats",
    ),
    Person(
        "demo-finance",
        "Fumiko Barros",
        "fumiko@demo.example",
        Role.FINANCE,
        False,
        "Tops up the balance and reads the bill",
    ),
    Person(
        "demo-reviewer",
        "Ravi Oyelaran",
        "ravi@demo.example",
        Role.REVIEWER,
        False,
        "Looks at refused prompts and pictures",
    ),
)


def seed(database: Database) -> bool:
    """Fill an empty database with the demonstration; False if there was something in it."""
    with database.transaction() as session:
        if session.scalars(select(Organisation.id).limit(1)).first() is not None:
            return False
        organisation = seats.create_organisation(session, name=ORGANISATION_NAME)
        for person in PEOPLE:
            identity = Identity(
                issuer=DEMO_ISSUER,
                subject=person.subject,
                email=person.email,
                email_verified=True,
                name=person.name,
            )
            seats.add_member(
                session, organisation.id, identity, role=person.role, seated=person.seated
            )
        ledger.top_up(
            session,
            organisation.id,
            TOP_UP_MICROS,
            key="demo-top-up",
            author_id=None,
            note=TOP_UP_NOTE,
        )
        licence.attest(session, "demonstration", given_by=ATTESTED_BY, author_id=None)
        return True
