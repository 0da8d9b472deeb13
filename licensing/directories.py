"""The directory of an organisation and the tokens by which it speaks SCIM to us.

Owns the tables `directory` and `scim_token`. A directory belongs to one sign-in provider, its
issuer: only who signs in there can become a person that it sent. Tokens have scopes, are shown once
and stored as SHA-256. Two may hold at a time, so that one is changed for the next without a gap.
Enterprise only, asked again at every request.
"""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Text, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from licensing import actors, tiers
from licensing.db import Base, now
from licensing.domains import SeatPolicy
from licensing.errors import AtelierError, Conflict, NotAllowed, NotFound
from licensing.seats import Member, Role

BEGINNING = "atl_scim_"
TOKEN_BYTES = 32
SHOWN_CHARACTERS = 14
TOKENS_MAX = 2  # the one in use and the one that replaces it
OVERLAP = timedelta(hours=24)  # how long the old token holds after a rotation
LABEL_CHARACTERS_MAX = 64
USED_EVERY = timedelta(minutes=1)  # a busy token writes its row this often
SCOPES = ("users:read", "users:write", "groups:read", "groups:write")


class InvalidToken(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A token or directory cannot be made as it was asked for."""

    code = "invalid_scim_token"
    status = 422


def configure(
    session: Session, actor: Member, *, issuer: str, seat_policy: SeatPolicy
) -> "Directory":
    """Name the sign-in provider and the seat policy of the organisation's directory.

    For owners. The caller has made sure that the studio knows the provider. Raises `TierRequired`,
    `NotAllowed`.
    """
    actor = _require_owner(session, actor)
    tiers.require(session, actor.organisation_id, "scim")
    found = session.get(Directory, actor.organisation_id)
    if found is None:
        found = Directory(
            organisation_id=actor.organisation_id, created_by=actor.id, created_at=now()
        )
        session.add(found)
    found.issuer, found.seat_policy = issuer, SeatPolicy(seat_policy)
    actors.record(session, actor, "directory", detail=f"{issuer}, seats: {seat_policy}")
    return found


def create_token(
    session: Session, actor: Member, *, label: str, scopes: Sequence[str] = SCOPES
) -> tuple["ScimToken", str]:
    """Make a token; returns its row and the token, which nobody can read again.

    For owners. Raises `InvalidToken`, `TierRequired`, `NotFound` before `configure`, `Conflict`
    while two tokens hold.
    """
    actor = _require_owner(session, actor)
    tiers.require(session, actor.organisation_id, "scim")
    label = " ".join(label.split())
    if not 1 <= len(label) <= LABEL_CHARACTERS_MAX or not label.isprintable():
        raise InvalidToken(f"Give the token a name of 1 to {LABEL_CHARACTERS_MAX} characters.")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InvalidToken(f"A token has scopes of these: {', '.join(SCOPES)}.")
    if session.get(Directory, actor.organisation_id) is None:
        raise NotFound("Choose the directory's sign-in provider first.")
    live = select(func.count()).where(ScimToken.organisation_id == actor.organisation_id, _holds())
    if session.scalars(live).one() >= TOKENS_MAX:
        raise Conflict("Two tokens hold already. Revoke the one that is not in use first.")
    token = BEGINNING + secrets.token_urlsafe(TOKEN_BYTES)
    made = ScimToken(
        id=uuid.uuid4(),
        organisation_id=actor.organisation_id,
        label=label,
        beginning=token[:SHOWN_CHARACTERS],
        token_sha256=_digest(token),
        scopes=sorted(set(scopes)),
        created_by=actor.id,
        created_at=now(),
    )
    session.add(made)
    actors.record(session, actor, "scim_token_made", detail=f"{label} {made.beginning}…")
    return made, token


def rotate(session: Session, actor: Member, token_id: uuid.UUID) -> tuple["ScimToken", str]:
    """Make the token that follows another, with its scopes; the old one holds for `OVERLAP` more.

    Raises `NotFound`, and `Conflict` while a rotation is under way.
    """
    actor = _require_owner(session, actor)
    old = _token(session, actor, token_id)
    made, token = create_token(session, actor, label=old.label, scopes=old.scopes)
    ends_at = now() + OVERLAP
    old.expires_at = min(old.expires_at, ends_at) if old.expires_at else ends_at
    return made, token


def revoke_token(session: Session, actor: Member, token_id: uuid.UUID) -> None:
    """End a token at once; raises `NotFound`."""
    actor = _require_owner(session, actor)
    token = _token(session, actor, token_id)
    token.revoked_at = now()
    actors.record(session, actor, "scim_token_revoked", detail=f"{token.label} {token.beginning}…")


def find_live(session: Session, token: str) -> "ScimToken | None":
    """Find a token that holds: one indexed query."""
    query = select(ScimToken).where(ScimToken.token_sha256 == _digest(token), _holds())
    return session.scalars(query).one_or_none()


def touch(session: Session, token: "ScimToken") -> None:
    """Note that a token was used, to the minute."""
    at = now()
    if token.last_used_at is None or token.last_used_at < at - USED_EVERY:
        session.execute(update(ScimToken).where(ScimToken.id == token.id).values(last_used_at=at))


def tokens(session: Session, organisation_id: uuid.UUID) -> Sequence["ScimToken"]:
    """The tokens that hold, newest first."""
    query = select(ScimToken).where(ScimToken.organisation_id == organisation_id, _holds())
    return session.scalars(query.order_by(ScimToken.created_at.desc())).all()


def get(session: Session, organisation_id: uuid.UUID) -> "Directory | None":
    """Read the directory of an organisation, if it has one."""
    return session.get(Directory, organisation_id)


def _require_owner(session: Session, actor: Member) -> Member:
    actor = actors.require_admin(session, actor)
    if actor.role != Role.OWNER:
        raise NotAllowed("Only an owner can connect a directory.")
    return actor


def _token(session: Session, actor: Member, token_id: uuid.UUID) -> "ScimToken":
    query = select(ScimToken).where(
        ScimToken.id == token_id, ScimToken.organisation_id == actor.organisation_id, _holds()
    )
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotFound("There is no such token.")
    return found


def _holds() -> ColumnElement[bool]:
    runs = or_(ScimToken.expires_at.is_(None), ScimToken.expires_at > now())
    return ScimToken.revoked_at.is_(None) & runs


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Directory(Base):
    """The directory of an organisation: where its people sign in, and what they get."""

    __tablename__ = "directory"
    __table_args__ = (
        CheckConstraint("seat_policy IN ('seat', 'no_seat', 'ask')", name="seat_policy"),
        Index("ix_directory_issuer", "issuer"),
    )

    organisation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    issuer: Mapped[str]
    seat_policy: Mapped[str]
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    created_at: Mapped[datetime]


class ScimToken(Base):
    """One token of a directory; `beginning` is what may be shown of it."""

    __tablename__ = "scim_token"
    __table_args__ = (Index("ix_scim_token_organisation_id", "organisation_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("directory.organisation_id"))
    label: Mapped[str]
    beginning: Mapped[str]
    token_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
