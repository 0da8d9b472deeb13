"""API keys: how programs act for a member, with that member's seat, budget and role.

Owns the table `api_key`. Only the SHA-256 of a key is stored; the key is shown once, when it is
made. A key is looked up with its member on every request, so it stops at the request after it is
revoked or has run out. Whoever is suspended or removed loses their keys for good.
"""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, func, or_, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from licensing import actors, seats
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict, NotAllowed, NotFound
from licensing.seats import Member, Page, Status

BEGINNING = "atl_"  # by which people and secret scanners know a key when they find one
TOKEN_BYTES = 32
SHOWN_CHARACTERS = 10  # of a key, so that its owner can tell it from others
NAME_CHARACTERS_MAX = 64
KEYS_MAX = 20  # for one member; more are forgotten keys
LIFETIME_MAX = timedelta(days=366 * 5)
USED_EVERY = timedelta(minutes=1)  # a busy key writes its row this often, not on every request


class InvalidKey(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A key cannot be made as it was asked for."""

    code = "invalid_api_key"
    status = 422


def create(
    session: Session, member: Member, *, name: str, lifetime: timedelta | None = None
) -> tuple["ApiKey", str]:
    """Make a key for a member; returns its row and the key, which nobody can read again.

    Raises `InvalidKey` for a name that is empty, too long or not printable and for a lifetime that
    is not between now and five years, `Conflict` when the member has `KEYS_MAX` already, and
    `NotAllowed` when they were suspended or removed since they asked.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise InvalidKey(f"Give the key a name of 1 to {NAME_CHARACTERS_MAX} characters.")
    if lifetime is not None and not timedelta(0) < lifetime <= LIFETIME_MAX:
        raise InvalidKey("A key may live for at most five years.")
    seats.lock(session, member.organisation_id)
    fresh = seats.get_member(session, member.id)
    if fresh is None or fresh.status != Status.ACTIVE:
        # It would live again with the membership, and who suspended them ended every key.
        raise NotAllowed("Your membership has ended or is suspended, so no key can be made.")
    held = session.scalars(select(func.count()).where(_live(), ApiKey.member_id == member.id))
    if held.one() >= KEYS_MAX:
        raise Conflict(f"You have {KEYS_MAX} keys. Revoke one that is not used any more first.")
    token = BEGINNING + secrets.token_urlsafe(TOKEN_BYTES)
    key = ApiKey(
        id=uuid.uuid4(),
        organisation_id=member.organisation_id,
        member_id=member.id,
        name=name,
        beginning=token[:SHOWN_CHARACTERS],
        token_sha256=_digest(token),
        created_at=now(),
        expires_at=now() + lifetime if lifetime else None,
    )
    session.add(key)
    actors.record(session, member, "api_key_made", member=member, detail=f"{name} {key.beginning}…")
    return key, token


def find_live(session: Session, token: str) -> tuple["ApiKey", Member] | None:
    """Find the key and its active member, in one indexed query; None if either does not hold."""
    query = (
        select(ApiKey, Member)
        .join(Member, Member.id == ApiKey.member_id)
        .where(ApiKey.token_sha256 == _digest(token), _live(), Member.status == Status.ACTIVE)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def is_due(key: "ApiKey") -> bool:
    """Whether the use of a key is to be noted again."""
    return key.last_used_at is None or key.last_used_at < now() - USED_EVERY


def touch(session: Session, key_id: uuid.UUID) -> None:
    """Note that a key was used, to the minute; of many requests at once, one writes."""
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < now() - USED_EVERY)
    session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=now()))


def keys_of(session: Session, member_id: uuid.UUID) -> Sequence["ApiKey"]:
    """A member's keys that still hold, newest first."""
    query = select(ApiKey).where(ApiKey.member_id == member_id, _live())
    return session.scalars(query.order_by(ApiKey.created_at.desc())).all()


def keys(session: Session, organisation_id: uuid.UUID) -> Sequence[tuple["ApiKey", str]]:
    """All keys of an organisation that still hold, with their members' names."""
    query = (
        select(ApiKey, Member.name)
        .join(Member, Member.id == ApiKey.member_id)
        .where(ApiKey.organisation_id == organisation_id, _live())
        .order_by(Member.name, ApiKey.created_at.desc())
    )
    return [(key, name) for key, name in session.execute(query)]


def revoke(session: Session, actor: Member, key_id: uuid.UUID) -> "ApiKey":
    """End a key: a member their own, an owner or admin anybody's. Again is harmless.

    Raises `NotFound` for a missing key and for a stranger's alike.
    """
    seats.lock(session, actor.organisation_id)
    fresh = seats.get_member(session, actor.id)
    key = session.get(ApiKey, key_id, populate_existing=True)
    is_admin = fresh is not None and seats.may(fresh.role, Page.TEAM)
    if (
        key is None
        or fresh is None
        or fresh.status != Status.ACTIVE
        or key.organisation_id != fresh.organisation_id
        or not (is_admin or key.member_id == fresh.id)
    ):
        raise NotFound("There is no such key.")
    if key.revoked_at is None:
        key.revoked_at, key.revoked_by = now(), fresh.id
        owner = seats.get_member(session, key.member_id)
        detail = f"{key.name} {key.beginning}…"
        actors.record(session, fresh, "api_key_revoked", member=owner, detail=detail)
    return key


def revoke_all(session: Session, member_id: uuid.UUID) -> None:
    """End every key of a member who is being suspended or removed."""
    ending = update(ApiKey).where(ApiKey.member_id == member_id, ApiKey.revoked_at.is_(None))
    session.execute(ending.values(revoked_at=now()))


def _live() -> ColumnElement[bool]:
    return ApiKey.revoked_at.is_(None) & or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now())


def _digest(token: str) -> str:
    # The key is 256 random bits: a plain hash is as good as a slow one, and can be looked up.
    return hashlib.sha256(token.encode()).hexdigest()


class ApiKey(Base):
    """One key of a member; `beginning` is what may be shown of it."""

    __tablename__ = "api_key"
    __table_args__ = (
        ForeignKeyConstraint(
            ["member_id", "organisation_id"], ["member.id", "member.organisation_id"]
        ),
        Index("ix_api_key_organisation_id", "organisation_id", "created_at"),
        Index("ix_api_key_member_id", "member_id", postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID]
    member_id: Mapped[uuid.UUID]
    name: Mapped[str]
    beginning: Mapped[str]
    token_sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    last_used_at: Mapped[datetime | None]
