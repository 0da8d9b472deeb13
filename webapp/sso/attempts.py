"""Sign-ins on their way: what has to be remembered between leaving for the provider and return.

Owns the table `sign_in_attempt`. State, nonce and PKCE verifier stay on the server; the browser
holds one random value that ties the attempt to it. An attempt is taken once and lives ten minutes,
and each tab has its own, so that two tabs can sign in at the same time. Nobody has signed in yet
when one is kept, so there is a number of them above which the oldest go.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now

ATTEMPT_LIFETIME = timedelta(minutes=10)  # time enough for a second factor
# More than a large company on a Monday morning; a flood of visits fills no disk.
ATTEMPTS_MAX = 5_000


@dataclass(frozen=True)
class Journey:
    """Where somebody was going when they were asked to sign in."""

    next_path: str
    invite_token: str | None


class SignInAttempt(Base):
    """One departure to a provider that has not come back yet."""

    __tablename__ = "sign_in_attempt"

    state: Mapped[str] = mapped_column(primary_key=True)
    browser_sha256: Mapped[str]
    provider: Mapped[str]
    pending: Mapped[dict[str, Any]]
    next_path: Mapped[str]
    invite_token: Mapped[str | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)


def remember(
    session: Session,
    *,
    state: str,
    browser: str,
    provider: str,
    pending: dict[str, Any],
    journey: Journey,
) -> None:
    """Keep an attempt, and forget those that ran out and the oldest above `ATTEMPTS_MAX`."""
    at = now()
    session.execute(delete(SignInAttempt).where(SignInAttempt.expires_at <= at))
    newest_first = select(SignInAttempt.state).order_by(SignInAttempt.expires_at.desc())
    too_many = newest_first.offset(ATTEMPTS_MAX - 1)
    session.execute(delete(SignInAttempt).where(SignInAttempt.state.in_(too_many)))
    session.add(
        SignInAttempt(
            state=state,
            browser_sha256=_digest(browser),
            provider=provider,
            pending=pending,
            next_path=journey.next_path,
            invite_token=journey.invite_token,
            expires_at=at + ATTEMPT_LIFETIME,
        )
    )


def take(session: Session, *, state: str, browser: str, provider: str) -> SignInAttempt | None:
    """Remove and return the attempt with this state, if this browser made it; only once."""
    return session.scalars(
        delete(SignInAttempt)
        .where(
            SignInAttempt.state == state,
            SignInAttempt.browser_sha256 == _digest(browser),
            SignInAttempt.provider == provider,
            SignInAttempt.expires_at > now(),
        )
        .returning(SignInAttempt)
    ).one_or_none()


def _digest(browser: str) -> str:
    return sha256(browser.encode()).hexdigest()
