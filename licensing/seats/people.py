"""Organisations and their members: the two tables, who a person is, and how both are found."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base
from licensing.errors import NotFound
from licensing.seats.roles import Status
from licensing.team_tables import Team

NAME_CHARACTERS_MAX = 120  # of a person; a provider may send a book
JOINERS = "\u200c\u200d"  # unseen, and part of Persian and Indic names


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
