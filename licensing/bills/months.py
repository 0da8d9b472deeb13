"""A month of a bill: UTC, from its first moment to the next one's, whatever the calendar does.

A line belongs to the month in which it was settled. UTC has no summer time, and the clocks used
here have no leap second: 23:59:60 is read as the midnight after it, so it opens the next month.
"""

import re
from datetime import UTC, date, datetime

from licensing.errors import AtelierError

MONTHS = 12
YEAR_MIN, YEAR_MAX = 2000, 9998  # what a month's end still fits into

_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)


class InvalidMonth(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Not a month of the calendar."""

    code = "invalid_month"
    status = 422


def month_bounds(year: int, month: int) -> tuple[datetime, datetime]:
    """The first moment of a month and of the next one, UTC; raises `InvalidMonth`."""
    if not (YEAR_MIN <= year <= YEAR_MAX and 1 <= month <= MONTHS):
        raise InvalidMonth("Name a month such as 2026-11.")
    following = (year + 1, 1) if month == MONTHS else (year, month + 1)
    return datetime(year, month, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC)


def read_month(words: str) -> tuple[int, int]:
    """Read `2026-11`; raises `InvalidMonth`."""
    match = _MONTH.fullmatch(words.strip())
    if match is None:
        raise InvalidMonth("Name a month such as 2026-11.")
    year, month = int(match[1]), int(match[2])
    month_bounds(year, month)
    return year, month


def month_before(at: datetime) -> tuple[int, int]:
    """The month that ended last before `at`."""
    at = at.astimezone(UTC)
    return (at.year - 1, MONTHS) if at.month == 1 else (at.year, at.month - 1)


def first_day(year: int, month: int) -> date:
    """The day that stands for a month in the tables; raises `InvalidMonth`."""
    return month_bounds(year, month)[0].date()
