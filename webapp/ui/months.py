"""The calendar and the scales of the finance page: months in UTC, round axes, colours of a chart.

Pure but for `months`, which reads when an organisation began. All sums are integer microdollars.
"""

import calendar
import re
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from licensing.bills.months import InvalidMonth, month_bounds
from licensing.db import now
from licensing.seats import Organisation
from licensing.usage import UsageLine

AXIS_MICROS_MIN = 10_000  # a chart of less than one cent would show noise as mountains
AXIS_DIGITS = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)  # a bar fills two thirds at least
MONTHS_LISTED_MAX = 36  # three years back from today; older ones open by their address

_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)


@dataclass(frozen=True, order=True)
class Month:
    """A month of the calendar, UTC."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    @property
    def name(self) -> str:
        """As people read it: `November 2026`."""
        return f"{calendar.month_name[self.number]} {self.year}"

    @property
    def before(self) -> "Month":
        """The month before this one."""
        return Month(self.year - 1, 12) if self.number == 1 else Month(self.year, self.number - 1)

    @property
    def after(self) -> "Month":
        """The month after this one."""
        return Month(self.year + 1, 1) if self.number == 12 else Month(self.year, self.number + 1)  # noqa: PLR2004

    @property
    def days(self) -> list[date]:
        """All its days."""
        count = calendar.monthrange(self.year, self.number)[1]
        return [date(self.year, self.number, day) for day in range(1, count + 1)]

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """Its first moment and that of the next month."""
        return month_bounds(self.year, self.number)


def parse_month(words: str) -> Month:
    """Read `2026-11`; an empty word means the month that it is now. Raises `InvalidMonth`."""
    today = now()
    if not words:
        return Month(today.year, today.month)
    match = _MONTH.fullmatch(words)
    if match is None:
        raise InvalidMonth("Name a month such as 2026-11.")
    month = Month(int(match[1]), int(match[2]))
    month_bounds(month.year, month.number)
    return month


def months(session: Session, organisation_id: uuid.UUID) -> list[Month]:
    """The months from the first use (or the founding) to now, newest first."""
    founded = session.scalars(
        select(Organisation.created_at).where(Organisation.id == organisation_id)
    ).one()
    used = first_use(session, organisation_id)
    first = min(founded, used) if used else founded
    month = parse_month("")
    listed: list[Month] = []
    while month >= Month(first.year, first.month) and len(listed) < MONTHS_LISTED_MAX:
        listed.append(month)
        month = month.before
    return listed


def first_use(session: Session, organisation_id: uuid.UUID) -> datetime | None:
    """When an organisation paid for its first picture."""
    query = select(func.min(UsageLine.at)).where(UsageLine.organisation_id == organisation_id)
    return session.scalars(query).one()


def axis_top(amount_micros: int) -> int:
    """The round amount that a chart of `amount_micros` ends at: two digits, its half short too."""
    power = AXIS_MICROS_MIN // 10
    while True:
        for digits in AXIS_DIGITS:
            if digits * power >= amount_micros:
                return digits * power
        power *= 10


def same_day_before(day: date) -> date:
    """The day of the month before that is compared with `day`; its last day where it is shorter."""
    last = day.replace(day=1) - timedelta(days=1)
    return last.replace(day=min(day.day, last.day))
