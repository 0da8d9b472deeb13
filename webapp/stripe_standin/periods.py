"""Periods and proration: whole months, and the part of a price for the time left. Pure."""

import calendar
from datetime import UTC, datetime, timedelta

MONTHS = {"month": 1, "year": 12}
DAYS = {"day": 1, "week": 7}


def end_of(start: int, interval: str, count: int, anchor: int) -> int:
    """Return when a period ends that begins at `start`, in seconds (UTC).

    Months end on the day of `anchor` or on their last one: 31 January, 28 February, 31 March.
    """
    begins = datetime.fromtimestamp(start, UTC)
    if interval in DAYS:
        return int((begins + timedelta(days=DAYS[interval] * count)).timestamp())
    months = begins.year * 12 + begins.month - 1 + MONTHS[interval] * count
    year, month = divmod(months, 12)
    day = min(datetime.fromtimestamp(anchor, UTC).day, calendar.monthrange(year, month + 1)[1])
    return int(begins.replace(year=year, month=month + 1, day=day).timestamp())


def part(amount: int, start: int, end: int, at: int) -> int:
    """Return the part of `amount` (cents for the whole period) that falls after `at`, half up."""
    left, whole = end - at, end - start
    return (2 * amount * left + whole) // (2 * whole)


def day(at: int) -> str:
    """Return a day as invoices name it."""
    return f"{datetime.fromtimestamp(at, UTC):%-d %b %Y}"
