"""What is owed: a month's usage as a file that finance can add up and a spreadsheet can open.

Reads usage lines and nothing else. The file is RFC 4180 CSV (CRLF, quoted where needed), one line a
generation in order of settlement, and deterministic: the same lines give the same bytes. It has no
line of totals, so that the sum of a column is the sum; `month_totals` gives the figure to compare.
Months are UTC: a line belongs to the month in which it was settled.
"""

import csv
import io
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from licensing import usage
from licensing.errors import AtelierError
from licensing.money import plain_usd
from licensing.usage import UsageLine

MONTHS = 12
YEAR_MIN, YEAR_MAX = 2000, 9998  # what a month's end still fits into

COLUMNS = (
    "settled_at",
    "generation_id",
    "member_id",
    "member_name",
    "member_email",
    "model",
    "width",
    "height",
    "images",
    "price_version",
    "amount_micros",
    "amount_usd",
)

# A cell that begins with one of these becomes a formula in some spreadsheet; the full-width forms
# are read as the plain ones by East Asian versions.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class InvalidMonth(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Not a month of the calendar."""

    code = "invalid_month"
    status = 422


@dataclass(frozen=True)
class MonthTotals:
    """The control totals of a month's file."""

    generations: int
    images: int
    amount_micros: int


def usage_csv(session: Session, organisation_id: uuid.UUID, year: int, month: int) -> str:
    """Write a month's usage. Encode it as `utf-8-sig` when a spreadsheet is to open it.

    Raises `InvalidMonth`.
    """
    start, end = month_bounds(year, month)
    file = io.StringIO(newline="")
    writer = csv.writer(file)  # its defaults are RFC 4180: comma, CRLF, doubled quotes
    writer.writerow(COLUMNS)
    for line in usage.lines(session, organisation_id, start, end):
        writer.writerow(_cells(line))
    return file.getvalue()


def month_totals(
    session: Session, organisation_id: uuid.UUID, year: int, month: int
) -> MonthTotals:
    """Add up a month's lines in the database; raises `InvalidMonth`."""
    start, end = month_bounds(year, month)
    query = select(
        func.count(),
        func.coalesce(func.sum(UsageLine.images), 0),
        func.coalesce(func.sum(UsageLine.amount_micros), 0),
    ).where(UsageLine.organisation_id == organisation_id, UsageLine.at >= start, UsageLine.at < end)
    generations, images, amount_micros = session.execute(query).one()
    return MonthTotals(int(generations), int(images), int(amount_micros))


def month_bounds(year: int, month: int) -> tuple[datetime, datetime]:
    """The first moment of a month and of the next one, UTC; raises `InvalidMonth`."""
    if not (YEAR_MIN <= year <= YEAR_MAX and 1 <= month <= MONTHS):
        raise InvalidMonth("Name a month such as 2026-11.")
    following = (year + 1, 1) if month == MONTHS else (year, month + 1)
    return datetime(year, month, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC)


def _cells(line: UsageLine) -> tuple[str, ...]:
    return (
        line.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        str(line.generation_id),
        str(line.member_id),
        as_text_cell(line.member_name),
        as_text_cell(line.member_email),
        as_text_cell(line.model),
        str(line.width),
        str(line.height),
        str(line.images),
        as_text_cell(line.price_version),
        str(line.amount_micros),
        plain_usd(line.amount_micros),
    )


def as_text_cell(words: str) -> str:
    """Keep people's words from becoming a formula: a leading apostrophe makes them text."""
    if words.lstrip(" ").startswith(FORMULA_STARTS):
        return f"'{words}"
    return words
