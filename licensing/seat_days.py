"""The most seats of each day: what an Enterprise true-up is reckoned from.

Owns the table `seat_day`. A day's row is begun with the seats that were taken at midnight (UTC):
by the first change of the day, under the organisation's lock, or by the beat on a day without one.
After that it only rises. What must hold: no row of a day that has ended changes any more.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import CheckConstraint, ForeignKey, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base

DAYS_MAX = 1_100  # three years of days, the longest contract that is reckoned at once


@dataclass(frozen=True)
class DayHigh:
    """The most seats of one day; `is_recorded` is False where the studio was not running."""

    day: date
    high_water: int
    is_recorded: bool


def begin(session: Session, organisation_id: uuid.UUID, at: datetime) -> None:
    """Write what was taken at midnight, unless today has its row. Before any change of today."""
    session.execute(
        _BEGIN, {"id": organisation_id, "day": at.astimezone(UTC).date(), "midnight": midnight(at)}
    )


def begin_all(session: Session, at: datetime) -> int:
    """Begin the day of every organisation that nobody changed today; return how many."""
    values = {"id": None, "day": at.astimezone(UTC).date(), "midnight": midnight(at)}
    return len(session.execute(_BEGIN, values).all())


def rise(session: Session, organisation_id: uuid.UUID, seats_taken: int, at: datetime) -> None:
    """Lift today's high water to `seats_taken`, if it is below that."""
    statement = insert(SeatDay).values(
        organisation_id=organisation_id, day=at.astimezone(UTC).date(), high_water=seats_taken
    )
    highest = func.greatest(SeatDay.high_water, statement.excluded.high_water)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["organisation_id", "day"], set_={"high_water": highest}
        )
    )


def days(session: Session, organisation_id: uuid.UUID, first: date, last: date) -> list[DayHigh]:
    """Every day from `first` to `last`, both included, oldest first; at most `DAYS_MAX`.

    A day on which the studio did not run repeats the day before it, and says so. Days before the
    first record are left out, since nothing is known of them.
    """
    first = max(first, last - timedelta(days=DAYS_MAX - 1))
    mine = SeatDay.organisation_id == organisation_id
    earlier = select(func.max(SeatDay.day)).where(mine, SeatDay.day <= first)
    begun = session.scalars(earlier).one() or first
    query = select(SeatDay.day, SeatDay.high_water).where(mine, SeatDay.day.between(begun, last))
    found = {row.day: row.high_water for row in session.execute(query)}
    listed: list[DayHigh] = []
    known = found.get(begun)
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        is_recorded = day in found
        known = found.get(day, known)
        if known is not None:
            listed.append(DayHigh(day, known, is_recorded))
    return listed


def highest(session: Session, organisation_id: uuid.UUID, first: date, last: date) -> int:
    """The most seats of any day from `first` to `last`; 0 where nothing is known."""
    return max((day.high_water for day in days(session, organisation_id, first, last)), default=0)


def midnight(at: datetime) -> datetime:
    """The beginning of the day (UTC) that `at` lies in."""
    return datetime.combine(at.astimezone(UTC).date(), time.min, UTC)


class SeatDay(Base):
    """The most seats that were taken at once on one day (UTC): assigned, or held by an invite."""

    __tablename__ = "seat_day"
    __table_args__ = (CheckConstraint("high_water >= 0", name="high_water"),)

    organisation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    day: Mapped[date] = mapped_column(primary_key=True)
    high_water: Mapped[int]


# Nothing has changed since midnight but the clock: an invite that ran out today held its seat then.
_BEGIN = text(
    """
    INSERT INTO seat_day (organisation_id, day, high_water)
    SELECT organisation.id, :day,
           (SELECT count(*) FROM member
             WHERE member.organisation_id = organisation.id AND member.seated) +
           (SELECT count(*) FROM invite
             WHERE invite.organisation_id = organisation.id AND invite.seated
               AND invite.accepted_at IS NULL AND invite.revoked_at IS NULL
               AND invite.expires_at > :midnight)
      FROM organisation
     WHERE (CAST(:id AS uuid) IS NULL OR organisation.id = :id)
       AND NOT EXISTS (SELECT FROM seat_day WHERE seat_day.organisation_id = organisation.id
                                              AND seat_day.day = :day)
    ON CONFLICT DO NOTHING
    RETURNING organisation_id
    """
)
