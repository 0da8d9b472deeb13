"""Counting somebody's refusals: it slows them down, then stops them until a reviewer has looked.

Owns no table. A strike is read from the verdicts, so that no process can lose or double one: the
same prompt within ten minutes is one strike, everything within five seconds is one, and what a
reviewer allowed is none. The stop is a case of the kind `abuse`, opened once by a lock and a unique
index; it holds while that case is open or was decided against the person. Called where a verdict
is recorded and where a job is submitted.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from licensing import cases
from licensing.cases import ReviewCase, Subject
from licensing.db import now
from licensing.errors import AtelierError

# Somebody who tries how a word is taken is refused a few times; five in an hour is insisting.
COOL_OFF_STRIKES, COOL_OFF_WINDOW = 5, timedelta(hours=1)
COOL_OFF = timedelta(minutes=15)
LONG_COOL_OFF_STRIKES, LONG_COOL_OFF = 8, timedelta(hours=1)
STOP_STRIKES, STOP_WINDOW = 15, timedelta(days=1)
# Children are not tried out: three refusals in a day are looked at by a person.
STOP_STRIKES_MINORS = 3
SAME_WORDS = timedelta(minutes=10)  # the same prompt again is impatience, not another attempt
BURST = timedelta(seconds=5)  # a double click, or a batch that a program sends at once

_LOCK = 0x6162_7573  # the first key of this module's advisory locks


class CoolOff(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Several refusals in a short time; the person waits a little."""

    code = "cool_off"
    status = 429

    def __init__(self, until: datetime) -> None:
        """Say until when, in UTC."""
        self.until = until
        super().__init__(
            "Several of your last prompts or pictures were refused. You can generate again at "
            f"{until:%H:%M} UTC. If a refusal was wrong, appeal against it under /refusals."
        )


class GenerationStopped(AtelierError):  # noqa: N818 - reads as the answer that it is
    """So many refusals that a reviewer has to look first."""

    code = "generation_stopped"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "So many of your prompts or pictures were refused that a reviewer has to look before "
            "you can generate again. You can appeal under /refusals."
        )


@dataclass(frozen=True)
class Strikes:
    """A member's refusals: within an hour, within a day, those about minors, and the latest."""

    hour: int
    day: int
    minors: int
    latest: datetime | None

    @property
    def cool_until(self) -> datetime | None:
        """When the person may go on; None if they need not wait."""
        if self.latest is None or self.hour < COOL_OFF_STRIKES:
            return None
        is_long = self.hour >= LONG_COOL_OFF_STRIKES
        return self.latest + (LONG_COOL_OFF if is_long else COOL_OFF)

    @property
    def is_too_many(self) -> bool:
        """Whether a reviewer has to look."""
        return self.day >= STOP_STRIKES or self.minors >= STOP_STRIKES_MINORS


def begin(session: Session, member_id: uuid.UUID) -> None:
    """Let one refusal of a member be recorded at a time, until the transaction ends."""
    key = func.hashtext(str(member_id))
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, key)))


def notice(session: Session, organisation_id: uuid.UUID, member_id: uuid.UUID) -> None:
    """Open a case if the refusal that was just recorded is one too many; the caller has `begin`."""
    if _stop_of(session, member_id) is not None:
        return
    found = strikes(session, member_id)
    if found.is_too_many:
        category = "minors_sexual" if found.minors >= STOP_STRIKES_MINORS else None
        subject = Subject(member_id=member_id)
        cases.open_case(session, organisation_id, "abuse", category=category, subject=subject)


def require_calm(session: Session, member_id: uuid.UUID) -> None:
    """Raise `GenerationStopped` or `CoolOff` if the member has to wait."""
    if _stop_of(session, member_id) is not None:
        raise GenerationStopped
    until = strikes(session, member_id).cool_until
    if until is not None and until > now():
        raise CoolOff(until)


def strikes(session: Session, member_id: uuid.UUID) -> Strikes:
    """Count a member's refusals of the last day, since a reviewer last lifted a stop."""
    moment = now()
    row = session.execute(
        _STRIKES,
        {
            "member_id": member_id,
            "day": moment - STOP_WINDOW,
            "hour": moment - COOL_OFF_WINDOW,
            "same": SAME_WORDS.total_seconds(),
            "burst": BURST.total_seconds(),
            "minors": sorted(cases.MINORS),
        },
    ).one()
    return Strikes(hour=row.hour, day=row.day, minors=row.minors, latest=row.latest)


def _stop_of(session: Session, member_id: uuid.UUID) -> ReviewCase | None:
    """The case that stops a member: their latest alarm, unless a reviewer lifted it."""
    query = select(ReviewCase).where(ReviewCase.kind == "abuse", ReviewCase.member_id == member_id)
    latest = session.scalars(query.order_by(ReviewCase.id.desc()).limit(1)).one_or_none()
    return None if latest is None or latest.outcome == "allow" else latest


# A generation whose pictures were refused is one thing, whatever their number; a prompt is its
# words. The same thing within one span of ten minutes counts by its first time; spans of five
# seconds count once whatever is in them.
_STRIKES = text(
    """
    WITH refused AS (
        SELECT min(verdict.at) AS first_at, max(verdict.at) AS last_at,
               bool_or(verdict.category = ANY (:minors)) AS is_minors
          FROM verdict LEFT JOIN review_case ON review_case.verdict_id = verdict.id
         WHERE verdict.member_id = :member_id AND verdict.action = 'block'
           AND verdict.at > greatest(:day, (
               SELECT max(decided_at) FROM review_case
                WHERE kind = 'abuse' AND outcome = 'allow' AND member_id = :member_id))
           AND review_case.outcome IS DISTINCT FROM 'allow'
         GROUP BY coalesce(CAST(verdict.generation_id AS text), md5(verdict.excerpt)),
                  floor(extract(epoch FROM verdict.at) / :same)
    ), strike AS (
        SELECT max(last_at) AS at, bool_or(is_minors) AS is_minors
          FROM refused GROUP BY floor(extract(epoch FROM first_at) / :burst)
    )
    SELECT count(*) FILTER (WHERE at > :hour) AS hour, count(*) AS day,
           count(*) FILTER (WHERE is_minors) AS minors, max(at) AS latest
      FROM strike
    """
)
