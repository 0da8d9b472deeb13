"""A month of usage as the finance page shows it: grouped, stacked by day, line by line.

Reads the sums and lines of `licensing.usage_sums`; what to look at is a `Wanted` of the address.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from inference.models import CATALOGUE
from licensing import usage_sums
from licensing.usage_sums import Drill, Filters, Sum
from webapp.ui.months import Month, axis_top, same_day_before
from webapp.ui.wanted import NONE_WORDS, NOTHING, By, Wanted

MODEL_NAMES = {model.id: model.name for model in CATALOGUE}
SERIES_MAX = 5  # more colours than these nobody tells apart; the rest is one grey


@dataclass(frozen=True)
class Spent:
    """A sum of usage lines."""

    generations: int = 0
    images: int = 0
    amount_micros: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.generations + other.generations,
            self.images + other.images,
            self.amount_micros + other.amount_micros,
        )


@dataclass(frozen=True)
class Group:
    """A row of the table. `series` is its colour in the chart, 0 the grey of all the others."""

    key: str
    name: str
    spent: Spent
    permille: int
    series: int = 0


@dataclass(frozen=True)
class Block:
    """A part of a day's bar; `permille` of the axis."""

    series: int
    name: str
    amount_micros: int
    permille: float


@dataclass(frozen=True)
class Bar:
    """One day of the chart, the largest group of the month at its foot."""

    day: date
    spent: Spent
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Usage:
    """One month, grouped."""

    total: Spent
    before: Spent | None
    groups: list[Group] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    axis_micros: int = 0

    @property
    def change_percent(self) -> int | None:
        """How much more (or less) was spent than in the same days of the month before."""
        if self.before is None or self.before.amount_micros <= 0:
            return None
        more = self.total.amount_micros - self.before.amount_micros
        return round(100 * more / self.before.amount_micros)  # a figure to read, not to add


def read_usage(session: Session, organisation_id: uuid.UUID, wanted: Wanted, today: date) -> Usage:
    """Read and add up what the address asks for.

    The chart has every day of the month; table and total are those of one day, if one is asked
    for. The first groups are read day by day, one at a time: a thousand members by thirty days
    would be read to draw five colours.
    """
    of_day = _by_day(session, organisation_id, wanted.month, wanted.conditions)
    picked = wanted.key_of(By.DAY)
    looked_at = {day: s for day, s in of_day.items() if not picked or day.isoformat() == picked}
    groups = _groups(session, organisation_id, wanted, looked_at)
    series = {
        group.series: _by_day(
            session, organisation_id, wanted.month, wanted.only(wanted.by, group.key).conditions
        )
        for group in groups
        if group.series
    }
    names = {group.series: group.name for group in groups if group.series}
    axis = axis_top(max((spent.amount_micros for spent in of_day.values()), default=0))
    bars = [
        Bar(
            day,
            of_day.get(day, Spent()),
            tuple(_blocks(day, of_day.get(day, Spent()), series, names, axis)),
        )
        for day in wanted.month.days
    ]
    before = _before(session, organisation_id, wanted, today)
    return Usage(sum(looked_at.values(), Spent()), before, groups, bars, axis)


def read_lines(session: Session, organisation_id: uuid.UUID, wanted: Wanted) -> Drill:
    """Read a page of the single generations that the address asks for."""
    return usage_sums.drill(
        session, organisation_id, *wanted.bounds, filters=wanted.conditions, page=wanted.part
    )


def names_of(session: Session, organisation_id: uuid.UUID, wanted: Wanted) -> dict[By, str]:
    """The filters of an address in words, to be shown and taken away one by one."""
    names: dict[By, str] = {}
    for by, key in wanted.filters:
        if by is By.DAY:
            day = date.fromisoformat(key)
            names[by] = f"{day.day} {day:%B}"
            continue
        found = usage_sums.summary(
            session,
            organisation_id,
            *wanted.bounds,
            by=usage_sums.By(by),
            filters=wanted.conditions,
        )
        unknown = "this member" if by is By.MEMBER else key
        names[by] = name_of(by, "", "") if key == NOTHING else unknown
        if found and key != NOTHING:
            names[by] = name_of(by, found[0].key, found[0].name)
    return names


def name_of(by: By, key: str, name: str) -> str:
    """A group in words: a model by the name that people chose it by."""
    if by is By.MODEL:
        return MODEL_NAMES.get(key, name)
    return name or NONE_WORDS.get(by, key)


def _before(
    session: Session, organisation_id: uuid.UUID, wanted: Wanted, today: date
) -> Spent | None:
    """The same days of the month before, under the same filters; None if one day is looked at."""
    if wanted.key_of(By.DAY):
        return None
    start, end = wanted.month.before.bounds
    if wanted.month == Month(today.year, today.month):
        last = same_day_before(today)
        end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    [sums] = usage_sums.summary(session, organisation_id, start, end, filters=wanted.conditions)
    return Spent(sums.generations, sums.images, sums.amount_micros)


def _by_day(
    session: Session, organisation_id: uuid.UUID, month: Month, conditions: Filters
) -> dict[date, Spent]:
    sums = usage_sums.summary(
        session, organisation_id, *month.bounds, by=usage_sums.By.DAY, filters=conditions
    )
    return {date.fromisoformat(one.key): _spent(one) for one in sums}


def _groups(
    session: Session, organisation_id: uuid.UUID, wanted: Wanted, of_day: Mapping[date, Spent]
) -> list[Group]:
    """The rows of the table; only the first ones have a colour of their own."""
    by = wanted.by
    if by is By.GENERATION:
        return []
    if by is By.DAY:
        rows = [(day.isoformat(), day.isoformat(), of_day[day]) for day in sorted(of_day)][::-1]
    else:
        sums = usage_sums.summary(
            session,
            organisation_id,
            *wanted.bounds,
            by=usage_sums.By(by),
            filters=wanted.conditions,
        )
        rows = [(s.key or NOTHING, name_of(by, s.key, s.name), _spent(s)) for s in sums]
        rows.sort(key=lambda row: (-row[2].amount_micros, row[1], row[0]))
    most = max((spent.amount_micros for _, _, spent in rows), default=0) or 1
    return [
        Group(
            key,
            name,
            spent,
            max(spent.amount_micros, 0) * 1000 // most,
            0 if by is By.DAY or place > SERIES_MAX else place,
        )
        for place, (key, name, spent) in enumerate(rows, 1)
    ]


def _blocks(
    day: date,
    spent: Spent,
    series: Mapping[int, Mapping[date, Spent]],
    names: Mapping[int, str],
    axis_micros: int,
) -> Iterable[Block]:
    """The parts of one bar from its foot up; "all others" last. One colour where nothing is."""

    def block(number: int, name: str, amount_micros: int) -> Block:
        permille = max(amount_micros, 0) * 10_000 // axis_micros / 10
        return Block(number, name, amount_micros, permille)

    if not series:
        if spent.generations or spent.amount_micros:
            yield block(1, "Spent", spent.amount_micros)
        return
    rest = spent.amount_micros
    for number in sorted(series):
        if day in series[number]:
            amount = series[number][day].amount_micros
            rest -= amount
            yield block(number, names[number], amount)
    if rest:
        yield block(0, "All others", rest)


def _spent(one: Sum) -> Spent:
    return Spent(one.generations, one.images, one.amount_micros)
