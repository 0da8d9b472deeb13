"""Signed-in browsers: one row a session, with the provider's tokens that belong to it.

Owns the table `web_session`. The row holds the SHA-256 of the cookie's value, so that a copy of
the database opens no session. `sign_in` opens and ends sessions, `backchannel` and `renewal` do so
for the provider, `webapp.identity` and `webapp.door` read them.
"""

import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import ForeignKey, Index, delete, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now
from licensing.seats import Member, Role, Status

COOKIE_BYTES = 32  # 256 random bits: nobody guesses a session


@dataclass(frozen=True)
class ProviderSession:
    """What the provider said at sign-in: whose session it is there, and its tokens."""

    provider: str
    issuer: str
    subject: str
    provider_session: str | None
    id_token: str
    access_token: str | None
    refresh_token: str | None
    renew_at: datetime | None


def open_session(
    session: Session, member: Member, signed_in_at: ProviderSession, *, lifetime: timedelta
) -> str:
    """Write a new session for `member` and return the cookie's value, which is stored nowhere."""
    cookie = secrets.token_urlsafe(COOKIE_BYTES)
    at = now()
    session.execute(delete(WebSession).where(WebSession.expires_at <= at))
    session.add(
        WebSession(
            id=uuid.uuid4(),
            cookie_sha256=_digest(cookie),
            member_id=member.id,
            provider=signed_in_at.provider,
            issuer=signed_in_at.issuer,
            subject=signed_in_at.subject,
            provider_session=signed_in_at.provider_session,
            id_token=signed_in_at.id_token,
            access_token=signed_in_at.access_token,
            refresh_token=signed_in_at.refresh_token,
            renew_at=signed_in_at.renew_at,
            created_at=at,
            expires_at=at + lifetime,
        )
    )
    return cookie


def find_live(session: Session, cookie: str) -> tuple[uuid.UUID, Member] | None:
    """Find a session by its cookie, with its member, if both still hold: one indexed query."""
    statement = (
        select(WebSession.id, Member)
        .join(Member, Member.id == WebSession.member_id)
        .where(
            WebSession.cookie_sha256 == _digest(cookie),
            WebSession.expires_at > now(),
            Member.status == Status.ACTIVE,
        )
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else (row[0], row[1])


def end_session(session: Session, cookie: str) -> "WebSession | None":
    """End the one session of this cookie; return its last state, None if there was none."""
    return session.scalars(
        delete(WebSession).where(WebSession.cookie_sha256 == _digest(cookie)).returning(WebSession)
    ).one_or_none()


def end_sessions(session: Session, member_id: uuid.UUID) -> int:
    """End every session of a member; return how many there were."""
    statement = delete(WebSession).where(WebSession.member_id == member_id)
    return len(session.scalars(statement.returning(WebSession.id)).all())


def end_at_provider(
    session: Session, issuer: str, *, subject: str | None, provider_session: str | None
) -> int:
    """End the sessions that the provider says are over: one of them (`sid`), or all of a subject.

    At least one of the two is given; a `sid` alone is enough, both together must both fit.
    """
    assert subject is not None or provider_session is not None
    statement = delete(WebSession).where(WebSession.issuer == issuer)
    if subject is not None:
        statement = statement.where(WebSession.subject == subject)
    if provider_session is not None:
        statement = statement.where(WebSession.provider_session == provider_session)
    return len(session.scalars(statement.returning(WebSession.id)).all())


def live_roles(session: Session, session_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Role]:
    """Return those of `session_ids` that still hold, with the role that their member has now."""
    statement = (
        select(WebSession.id, Member.role)
        .join(Member, Member.id == WebSession.member_id)
        .where(
            WebSession.id.in_(session_ids),
            WebSession.expires_at > now(),
            Member.status == Status.ACTIVE,
        )
    )
    return {row[0]: Role(row[1]) for row in session.execute(statement)}


def claim_renewals(session: Session, *, lease: timedelta, limit: int) -> "list[WebSession]":
    """Take up to `limit` sessions whose access token has run out; nobody else renews them soon.

    Two renewals with one refresh token would look like theft to the provider: the lease keeps
    them apart while the network is asked, with no transaction open.
    """
    at = now()
    due = (
        select(WebSession)
        .where(
            WebSession.renew_at <= at,
            WebSession.expires_at > at,
            or_(WebSession.renewing_until.is_(None), WebSession.renewing_until <= at),
        )
        .order_by(WebSession.renew_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = list(session.scalars(due))
    for row in rows:
        row.renewing_until = at + lease
    return rows


def store_renewal(
    session: Session,
    provider: str,
    spent_refresh_token: str,
    *,
    access_token: str,
    refresh_token: str | None,
    renew_at: datetime | None,
) -> bool:
    """Replace the tokens of the session that `spent_refresh_token` belonged to, its row locked.

    False: that session ended in the meantime, and the new tokens are of no use to anybody.
    """
    row = session.scalars(
        select(WebSession)
        .where(WebSession.provider == provider, WebSession.refresh_token == spent_refresh_token)
        .with_for_update()
    ).one_or_none()
    if row is None:
        return False
    row.access_token = access_token
    row.refresh_token = refresh_token or spent_refresh_token
    row.renew_at = renew_at
    row.renewing_until = None
    return True


def end_by_id(session: Session, session_id: uuid.UUID) -> None:
    """End one session: its provider refused to renew it."""
    session.execute(delete(WebSession).where(WebSession.id == session_id))


class WebSession(Base):
    """One signed-in browser, and the provider's tokens that belong to it."""

    __tablename__ = "web_session"
    __table_args__ = (Index("ix_web_session_issuer_subject", "issuer", "subject"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    cookie_sha256: Mapped[str] = mapped_column(unique=True)
    member_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("member.id", ondelete="CASCADE"), index=True
    )
    provider: Mapped[str]
    issuer: Mapped[str]
    subject: Mapped[str]
    provider_session: Mapped[str | None]
    id_token: Mapped[str | None]
    access_token: Mapped[str | None]
    refresh_token: Mapped[str | None]
    renew_at: Mapped[datetime | None]
    renewing_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


def _digest(cookie: str) -> str:
    return sha256(cookie.encode()).hexdigest()
