"""Invites by e-mail: made, sent again, taken back and counted.

Owns the table `invite`. An invite that carries a seat holds it until it is used, revoked or run
out. Only the SHA-256 of a token is stored; the token itself is shown once, in the link. Whoever
follows it comes in through `licensing.arrivals`.
"""

import hashlib
import re
import secrets
import uuid
from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, select
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from licensing import actors, seat_history, seats, teams
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict, NotAllowed, NotFound
from licensing.seats import Member, Role, Status

INVITE_LIFETIME = timedelta(days=7)  # long enough for a holiday, short enough to free the seat
INVITES_A_DAY_MAX = 2_000  # of one organisation: the largest file twice; more is somebody's spam
TOKEN_BYTES = 32
EMAIL_CHARACTERS_MAX = 254  # the longest address that mail can be sent to (RFC 5321)
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


class InvalidEmail(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Not an address that mail can be sent to."""

    code = "invalid_email"
    status = 422


class TooManyInvites(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The organisation has sent as many invites as anybody needs in a day."""

    code = "too_many_invites"
    status = 429


def invite(
    session: Session,
    actor: Member,
    *,
    email: str,
    role: Role,
    seated: bool,
    team_id: uuid.UUID | None = None,
) -> tuple["Invite", str]:
    """Invite an address; returns the invite and the token for its link, which is shown once.

    Raises `InvalidEmail`, `Conflict` (invited already, or a member), `SeatCeilingReached`,
    `NotAllowed`, and `NotFound` for a team that is not there.
    """
    address = read_address(email)
    actor = actors.require_admin(session, actor)
    if role == Role.OWNER and actor.role != Role.OWNER:
        raise NotAllowed("Only an owner can invite an owner.")
    if team_id is not None:
        teams.get(session, actor.organisation_id, team_id)
    _require_new(session, actor.organisation_id, address)
    require_few(session, actor.organisation_id, 1)
    if seated:
        seats.require_seat_left(session, actor.organisation_id)
    made, token = prepare(actor, email=address, role=role, seated=seated, team_id=team_id)
    session.add(made)
    seats.record(session, actor.organisation_id, "invited", actor=actor, detail=address)
    return made, token


def prepare(
    actor: Member, *, email: str, role: Role, seated: bool, team_id: uuid.UUID | None
) -> tuple["Invite", str]:
    """Make an invite that is not written yet, and its token. The caller has checked everything."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    made = Invite(
        id=uuid.uuid4(),
        organisation_id=actor.organisation_id,
        email=email,
        role=Role(role),
        seated=seated,
        token_sha256=digest(token),
        invited_by=actor.id,
        team_id=team_id,
        created_at=now(),
        expires_at=now() + INVITE_LIFETIME,
    )
    return made, token


def renew(session: Session, actor: Member, invite_id: uuid.UUID) -> tuple["Invite", str]:
    """Give a pending invite a new link and its full time again; the old link is dead.

    Raises `NotFound`. The seat that it holds stays held.
    """
    actor = actors.require_admin(session, actor)
    found = _pending_of(session, actor, invite_id)
    require_few(session, actor.organisation_id, 1)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    found.token_sha256, found.expires_at = digest(token), now() + INVITE_LIFETIME
    seats.record(session, actor.organisation_id, "invite_renewed", actor=actor, detail=found.email)
    return found, token


def require_few(session: Session, organisation_id: uuid.UUID, wanted: int) -> None:
    """Raise `TooManyInvites` if `wanted` more are too many for a day. The caller holds the lock."""
    sent = seat_history.count(
        session, organisation_id, ("invited", "invite_renewed"), since=now() - timedelta(days=1)
    )
    if sent + wanted > INVITES_A_DAY_MAX:
        raise TooManyInvites(
            f"An organisation sends at most {INVITES_A_DAY_MAX:,} invites a day, and {sent:,} were "
            "sent. Go on tomorrow."
        )


def read_address(given: str) -> str:
    """Return an e-mail address as it is compared; raises `InvalidEmail`."""
    address = given.strip().lower()
    is_address = _EMAIL.fullmatch(address) is not None and address.isprintable()
    if len(address) > EMAIL_CHARACTERS_MAX or not is_address:
        raise InvalidEmail(f"“{given.strip()[:80]}” is not an e-mail address.")
    return address


def revoke_invite(session: Session, actor: Member, invite_id: uuid.UUID) -> None:
    """Take a pending invite back and free its seat; raises `NotFound`."""
    actor = actors.require_admin(session, actor)
    found = _pending_of(session, actor, invite_id)
    found.revoked_at = now()
    seats.record(session, actor.organisation_id, "invite_revoked", actor=actor, detail=found.email)


def invites(session: Session, organisation_id: uuid.UUID) -> list["Invite"]:
    """The pending invites of an organisation, newest first."""
    query = select(Invite).where(Invite.organisation_id == organisation_id, pending())
    return list(session.scalars(query.order_by(Invite.created_at.desc(), Invite.id)))


def _pending_of(session: Session, actor: Member, invite_id: uuid.UUID) -> "Invite":
    query = select(Invite).where(
        Invite.id == invite_id, Invite.organisation_id == actor.organisation_id, pending()
    )
    found = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise NotFound("There is no such pending invite.")
    return found


def _require_new(session: Session, organisation_id: uuid.UUID, address: str) -> None:
    invited = select(Invite.id).where(
        Invite.organisation_id == organisation_id, Invite.email == address, pending()
    )
    if session.scalars(invited).first() is not None:
        raise Conflict(f"{address} is invited already. Revoke that invite to send a new one.")
    member = select(Member.id).where(
        Member.organisation_id == organisation_id,
        Member.email == address,
        Member.status != Status.REMOVED,
    )
    if session.scalars(member).first() is not None:
        raise Conflict(f"{address} is a member already.")


def pending() -> ColumnElement[bool]:
    """Neither used nor taken back, and not run out."""
    return Invite.accepted_at.is_(None) & Invite.revoked_at.is_(None) & (Invite.expires_at > now())


def digest(token: str) -> str:
    """What is stored of a link's token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Invite(Base):
    """A promise of membership to an address, with or without a seat."""

    __tablename__ = "invite"
    __table_args__ = (
        CheckConstraint(
            "role IN ('owner', 'admin', 'creator', 'finance', 'reviewer')", name="role"
        ),
        CheckConstraint("accepted_at IS NULL OR revoked_at IS NULL", name="one_end"),
        ForeignKeyConstraint(["team_id", "organisation_id"], ["team.id", "team.organisation_id"]),
        Index("ix_invite_organisation_id", "organisation_id"),
        Index("ix_invite_email", "email"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    email: Mapped[str]
    role: Mapped[str]
    seated: Mapped[bool]
    token_sha256: Mapped[str] = mapped_column(unique=True)
    invited_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    team_id: Mapped[uuid.UUID | None]  # the team that they join with the organisation
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
