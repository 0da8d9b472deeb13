"""What the finance page shows: a balance, its top-ups, and one month of usage with its chart.

All sums are integer microdollars and come from usage lines and transfers; the chart's heights are
shares of an axis that begins at 0 and ends at a round amount. Months are UTC, as on the bill.
Reads only.
"""

import calendar
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from licensing import bills, ledger, usage
from licensing.bills import InvalidMonth
from licensing.db import now
from licensing.ledger import Account, Balance, Hold, Transfer
from licensing.seats import Member, Organisation
from licensing.usage import UsageLine

ROWS_ON_PAGE = 50
TOP_UPS_ON_PAGE = 10
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


def parse_month(words: str) -> Month:
    """Read `2026-11`; an empty word means the month that it is now. Raises `InvalidMonth`."""
    today = now()
    if not words:
        return Month(today.year, today.month)
    match = _MONTH.fullmatch(words)
    if match is None:
        raise InvalidMonth("Name a month such as 2026-11.")
    month = Month(int(match[1]), int(match[2]))
    bills.month_bounds(month.year, month.number)
    return month


@dataclass(frozen=True)
class Spent:
    """What one member, one day or both together used."""

    generations: int
    images: int
    amount_micros: int
    day: date | None = None
    member_id: uuid.UUID | None = None
    member_name: str = ""


@dataclass(frozen=True)
class Bar:
    """One day of the chart; `permille` of the axis' height."""

    day: date
    amount_micros: int
    permille: int


@dataclass(frozen=True)
class TopUp:
    """Money that was paid in."""

    id: int
    at: datetime
    amount_micros: int
    author: str
    note: str


@dataclass(frozen=True)
class Wallet:
    """The balance, how many jobs hold a part of it, and a page of top-ups."""

    organisation: str
    balance: Balance
    jobs_holding: int
    top_ups: list[TopUp]
    has_older: bool


@dataclass(frozen=True)
class Usage:
    """One month of an organisation, or of one of its members."""

    total: Spent
    members: list[Spent]
    days: list[Spent]
    both: list[Spent]
    bars: list[Bar]
    axis_micros: int


def read_wallet(
    session: Session, organisation_id: uuid.UUID, *, before_id: int | None = None
) -> Wallet:
    """Read the balance, and the top-ups before `before_id`, newest first."""
    name = session.scalars(
        select(Organisation.name).where(Organisation.id == organisation_id)
    ).one()
    holding = (
        select(func.count())
        .select_from(Hold)
        .join(Account, Account.id == Hold.account_id)
        .where(Account.organisation_id == organisation_id, Hold.state == "held")
    )
    top_ups = _top_ups(session, organisation_id, before_id, TOP_UPS_ON_PAGE + 1)
    return Wallet(
        organisation=name,
        balance=ledger.balance(session, organisation_id),
        jobs_holding=session.scalars(holding).one(),
        top_ups=top_ups[:TOP_UPS_ON_PAGE],
        has_older=len(top_ups) > TOP_UPS_ON_PAGE,
    )


def read_usage(
    session: Session, organisation_id: uuid.UUID, month: Month, *, member_id: uuid.UUID | None
) -> Usage:
    """Add up a month, for everybody or for one member."""
    start, end = bills.month_bounds(month.year, month.number)
    rows = usage.by_member_and_day(session, organisation_id, start, end)
    rows = [row for row in rows if member_id is None or row.member_id == member_id]
    both = [
        Spent(r.generations, r.images, r.amount_micros, r.day, r.member_id, r.member_name)
        for r in rows
    ]
    days = _by_day(both)
    spent_on = {row.day: row.amount_micros for row in days}
    axis = axis_top(max(spent_on.values(), default=0))
    return Usage(
        total=_sum(both),
        members=sorted(_by_member(both), key=lambda s: (-s.amount_micros, s.member_name)),
        days=sorted(days, key=lambda s: s.day or date.min, reverse=True),
        both=both,
        bars=[
            Bar(day, spent_on.get(day, 0), spent_on.get(day, 0) * 1000 // axis)
            for day in month.days
        ],
        axis_micros=axis,
    )


def months(session: Session, organisation_id: uuid.UUID) -> list[Month]:
    """The months from the first use (or the founding) to now, newest first."""
    founded = session.scalars(
        select(Organisation.created_at).where(Organisation.id == organisation_id)
    ).one()
    used = session.scalars(
        select(func.min(UsageLine.at)).where(UsageLine.organisation_id == organisation_id)
    ).one()
    first = min(founded, used) if used else founded
    month = parse_month("")
    listed: list[Month] = []
    while month >= Month(first.year, first.month) and len(listed) < MONTHS_LISTED_MAX:
        listed.append(month)
        month = month.before
    return listed


def axis_top(amount_micros: int) -> int:
    """The round amount that a chart of `amount_micros` ends at: two digits, its half short too."""
    power = AXIS_MICROS_MIN // 10
    while True:
        for digits in AXIS_DIGITS:
            if digits * power >= amount_micros:
                return digits * power
        power *= 10


def _by_member(rows: Iterable[Spent]) -> list[Spent]:
    found: dict[uuid.UUID | None, list[Spent]] = {}
    for row in rows:
        found.setdefault(row.member_id, []).append(row)
    return [
        replace(_sum(own), member_id=id_, member_name=own[0].member_name)
        for id_, own in found.items()
    ]


def _by_day(rows: Iterable[Spent]) -> list[Spent]:
    found: dict[date | None, list[Spent]] = {}
    for row in rows:
        found.setdefault(row.day, []).append(row)
    return [replace(_sum(own), day=day) for day, own in found.items()]


def _sum(rows: Iterable[Spent]) -> Spent:
    rows = list(rows)
    return Spent(
        generations=sum(row.generations for row in rows),
        images=sum(row.images for row in rows),
        amount_micros=sum(row.amount_micros for row in rows),
    )


def _top_ups(
    session: Session, organisation_id: uuid.UUID, before_id: int | None, limit: int
) -> list[TopUp]:
    author = aliased(Member)
    query = (
        select(Transfer, author.name)
        .outerjoin(author, author.id == Transfer.author_id)
        .where(Transfer.organisation_id == organisation_id, Transfer.kind == "top_up")
    )
    if before_id is not None:
        query = query.where(Transfer.id < before_id)
    rows = session.execute(query.order_by(Transfer.id.desc()).limit(limit))
    return [
        TopUp(row.id, row.at, row.amount_micros, name or "The studio's operator", row.note)
        for row, name in rows
    ]
