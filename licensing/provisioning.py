"""People whom an organisation's directory sends before they have ever signed in.

Owns the table `provisioned`: a member's name in the directory, and the attributes that the
directory wants to read back. Who was sent and has not signed in yet stands as a member under a
placeholder identity; `claim` gives them their real one at their first sign-in. It must come from
the directory's own sign-in provider, with the directory's id of them as subject or with the address
that the provider vouches for. Whoever is a member anywhere already is never moved.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    and_,
    delete,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from licensing import actors, directories, domains, seats
from licensing.actors import Directory as Provisioner
from licensing.db import Base, now
from licensing.directories import Directory
from licensing.domains import SeatPolicy
from licensing.errors import AtelierError, Conflict, NotAllowed
from licensing.invites import read_address
from licensing.seats import Identity, Member, Role, Status

PLACEHOLDER_ISSUER = "urn:atelier:provisioned:"  # no provider has such an issuer: it is no URL
NAME_CHARACTERS_MAX = 256  # of userName, externalId and displayed names


class InvalidPerson(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The directory sent a person who cannot be a member as described."""

    code = "invalid_person"
    status = 400


class NameTaken(Conflict):
    """Somebody of the organisation has this user name, external id or address."""


@dataclass(frozen=True)
class Person:
    """Somebody as the directory describes them; `attributes` is what it reads back unchanged."""

    user_name: str
    external_id: str | None
    name: str
    email: str
    role: Role | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


def provision(session: Session, actor: Provisioner, person: Person) -> Member:
    """Let a person in, with what the directory's seat policy gives.

    Raises `InvalidPerson`, `NameTaken` for a user name, external id or address that is taken here.
    """
    actor = actors.require_admin(session, actor)
    address = _check(session, actor, person, None)
    directory = directories.get(session, actor.organisation_id)
    assert directory is not None, "a token belongs to a directory"
    left = seats.seat_usage(session, actor.organisation_id).left
    is_seated = directory.seat_policy == SeatPolicy.SEAT and left > 0
    identity = Identity(
        issuer=f"{PLACEHOLDER_ISSUER}{actor.organisation_id}",
        subject=uuid.uuid4().hex,
        email=address,
        email_verified=False,
        name=person.name,
    )
    role = person.role or Role.CREATOR
    member = seats.join(session, actor.organisation_id, identity, role=role, seated=is_seated)
    if not is_seated and directory.seat_policy != SeatPolicy.NO_SEAT:
        member.seat_asked_at = now()
    _write(session, member, person)
    actors.record(session, actor, "provisioned", member=member, detail=person.user_name)
    return member


def describe(session: Session, actor: Provisioner, member: Member, person: Person) -> None:
    """Bring a member up to what the directory says; who signed in keeps their own sign-in.

    Raises as `provision`. The caller deals with role and status, which are `roster`'s.
    """
    actor = actors.require_admin(session, actor)
    address = _check(session, actor, person, member.id)
    member.name, member.email = person.name, address
    _write(session, member, person)
    session.flush()


def forget(session: Session, member_id: uuid.UUID) -> None:
    """Drop what the directory said of somebody who is no member any more."""
    session.execute(delete(Provisioned).where(Provisioned.member_id == member_id))


def claim(session: Session, identity: Identity) -> None:
    """Give a provisioned person the identity that they first sign in with; else change nothing.

    Raises `NotAllowed` for a person whom the directory has switched off.
    """
    if seats.find_member(session, identity.issuer, identity.subject) is not None:
        return
    member = _awaited(session, identity)
    if member is None:
        return
    seats.lock(session, member.organisation_id)
    fresh = seats.get_member(session, member.id)
    if fresh is None or not _is_placeholder(fresh) or fresh.status == Status.REMOVED:
        return  # a second tab was faster, or the directory
    if fresh.status != Status.ACTIVE:
        raise NotAllowed("Your organisation's directory has switched your account off.")
    fresh.issuer, fresh.subject = identity.issuer, identity.subject
    seats.record(session, fresh.organisation_id, "linked", member=fresh, detail=identity.issuer)


def find(session: Session, actor: Provisioner, member_id: uuid.UUID) -> "Known":
    """Return a member of the directory's organisation; raises `NotFound` for all others."""
    member = actors.require_colleague(session, actor, member_id)
    return Known(member, session.get(Provisioned, member.id, populate_existing=True))


@dataclass(frozen=True)
class Known:
    """A member, and what the directory said of them if it ever did."""

    member: Member
    row: "Provisioned | None"


def people(
    session: Session,
    organisation_id: uuid.UUID,
    *,
    user_name: str | None = None,
    external_id: str | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> Sequence[Known]:
    """Everybody who was not removed, in a fixed order; or who has this user name or external id.

    A member whom the directory never described goes by their address. `limit` and `offset` cut a
    page out of the order.
    """
    query = (
        select(Member, Provisioned)
        .outerjoin(Provisioned, Provisioned.member_id == Member.id)
        .where(Member.organisation_id == organisation_id, Member.status != Status.REMOVED)
        .order_by(Member.created_at, Member.id)
    )
    if user_name is not None:
        query = query.where(_goes_by(user_name))
    if external_id is not None:
        query = query.where(Provisioned.external_id == external_id)
    rows = session.execute(query.offset(offset).limit(limit))
    return [Known(member, row) for member, row in rows]


def count_people(session: Session, organisation_id: uuid.UUID) -> int:
    """Count those who were not removed."""
    query = select(func.count()).where(
        Member.organisation_id == organisation_id, Member.status != Status.REMOVED
    )
    return session.scalars(query).one()


def _goes_by(user_name: str) -> ColumnElement[bool]:
    key = user_name.casefold()
    undescribed = and_(Provisioned.member_id.is_(None), Member.email == key)
    return or_(Provisioned.user_name_key == key, undescribed)


def _check(session: Session, actor: Provisioner, person: Person, own_id: uuid.UUID | None) -> str:
    for words in (person.user_name, person.name, person.external_id or "-"):
        if not words.strip() or len(words) > NAME_CHARACTERS_MAX or not words.isprintable():
            raise InvalidPerson(
                f"Names and ids are 1 to {NAME_CHARACTERS_MAX} printable characters."
            )
    _drop_leavers(session, actor.organisation_id)
    address = read_address(person.email)
    domain = domains.of_address(session, address)
    if domain is not None and domain.organisation_id != actor.organisation_id:
        raise InvalidPerson(f"The domain of {address} belongs to another organisation.")
    for other in people(session, actor.organisation_id, user_name=person.user_name):
        if other.member.id != own_id:
            raise NameTaken(f"There is a user called {person.user_name} already.")
    if person.external_id is not None:
        for other in people(session, actor.organisation_id, external_id=person.external_id):
            if other.member.id != own_id:
                raise NameTaken(f"There is a user with the external id {person.external_id}.")
    same = select(Member.id).where(
        Member.organisation_id == actor.organisation_id,
        Member.email == address,
        Member.status != Status.REMOVED,
        Member.id != own_id if own_id else Member.id.is_not(None),
    )
    if session.scalars(same.limit(1)).first() is not None:
        raise NameTaken(f"There is a user with the address {address} already.")
    return address


def _drop_leavers(session: Session, organisation_id: uuid.UUID) -> None:
    """Free the names of those who were removed at a desk, for the next person who has them."""
    gone = select(Member.id).where(
        Member.organisation_id == organisation_id, Member.status == Status.REMOVED
    )
    statement = delete(Provisioned).where(
        Provisioned.organisation_id == organisation_id,
        Provisioned.member_id.in_(gone.scalar_subquery()),
    )
    session.execute(statement.execution_options(synchronize_session=False))


def _write(session: Session, member: Member, person: Person) -> None:
    session.flush()
    row = session.get(Provisioned, member.id)
    if row is None:
        row = Provisioned(
            member_id=member.id, organisation_id=member.organisation_id, created_at=now()
        )
        session.add(row)
    row.user_name, row.user_name_key = person.user_name, person.user_name.casefold()
    row.external_id, row.attributes = person.external_id, person.attributes
    row.changed_at = now()
    session.flush()


def _awaited(session: Session, identity: Identity) -> Member | None:
    """Find the one provisioned person this can be; none where two organisations sent the same."""
    waiting = (
        select(Member, Provisioned.external_id)
        .join(Provisioned, Provisioned.member_id == Member.id)
        .join(Directory, Directory.organisation_id == Member.organisation_id)
        .where(
            Directory.issuer == identity.issuer,
            Member.issuer.startswith(PLACEHOLDER_ISSUER, autoescape=True),
            Member.status != Status.REMOVED,
        )
    )
    by_id = waiting.where(Provisioned.external_id == identity.subject)
    found = [row[0] for row in session.execute(by_id)]
    if not found and identity.email_verified and identity.address:
        by_address = waiting.where(Member.email == identity.address)
        found = [row[0] for row in session.execute(by_address)]
    return found[0] if len(found) == 1 else None


def _is_placeholder(member: Member) -> bool:
    return member.issuer.startswith(PLACEHOLDER_ISSUER)


class Provisioned(Base):
    """What the directory says of a member; `attributes` are those that we only keep for it."""

    __tablename__ = "provisioned"
    __table_args__ = (
        UniqueConstraint("organisation_id", "user_name_key"),
        UniqueConstraint("organisation_id", "external_id"),
        ForeignKeyConstraint(
            ["member_id", "organisation_id"], ["member.id", "member.organisation_id"]
        ),
        Index("ix_provisioned_external_id", "external_id"),
    )

    member_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID]
    user_name: Mapped[str]
    user_name_key: Mapped[str]
    external_id: Mapped[str | None]
    attributes: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
