"""A month of usage as the finance page shows it: grouped, stacked by day, line by line.

Reads the sums and lines of `licensing.usage_sums`; what to look at is a `Wanted` of the address.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from inference.models import CATALOGUE
from licensing import usage_sums
from licensing.usage_sums import Drill
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
class Cell:
    """What one group used on one day."""

    day: date
    key: str
    name: str
    spent: Spent


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
    """Read and add up what the address asks for."""
    by, days_only = wanted.by, wanted.by in {By.DAY, By.GENERATION}
    ways = [usage_sums.By.DAY] if days_only else [usage_sums.By.DAY, usage_sums.By(by)]
    sums = usage_sums.summary(
        session, organisation_id, *wanted.month.bounds, by=ways, filters=wanted.conditions
    )
    cells = [
        Cell(
            date.fromisoformat(one.keys[0]),
            one.keys[-1] or NOTHING,
            name_of(by, one.keys[-1], one.names[-1]),
            Spent(one.generations, one.images, one.amount_micros),
        )
        for one in sums
    ]
    picked = wanted.key_of(By.DAY)
    only = date.fromisoformat(picked) if picked else None
    before = _before(session, organisation_id, wanted, today)
    return draw(cells, wanted.month, by, before, only=only)


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


def draw(
    cells: Sequence[Cell], month: Month, by: By, before: Spent | None, *, only: date | None = None
) -> Usage:
    """Add the cells up: a table, and a chart of days whose colours are the table's first rows.

    The chart has every day of the month; table and total are those of the day `only`, if given.
    """
    is_plain = by in {By.DAY, By.GENERATION}
    looked_at = [cell for cell in cells if only is None or cell.day == only]
    groups = [] if by is By.GENERATION else _groups(looked_at, by)
    colours = {group.key: group.series for group in groups}
    names = {group.series: group.name for group in groups if group.series}
    per_day: dict[date, dict[int, Spent]] = {day: {} for day in month.days}
    for cell in cells:
        sums = per_day[cell.day]
        series = 1 if is_plain else colours.get(cell.key, 0)
        sums[series] = sums.get(series, Spent()) + cell.spent
    totals = {day: sum(sums.values(), Spent()) for day, sums in per_day.items()}
    axis = axis_top(max((spent.amount_micros for spent in totals.values()), default=0))
    bars = [
        Bar(day, totals[day], tuple(_blocks(sums, {} if is_plain else names, axis)))
        for day, sums in per_day.items()
    ]
    total = sum((cell.spent for cell in looked_at), Spent())
    return Usage(total, before, groups, bars, axis)


def _groups(cells: Sequence[Cell], by: By) -> list[Group]:
    sums: dict[str, Spent] = {}
    names: dict[str, str] = {}
    for cell in cells:
        key = cell.day.isoformat() if by is By.DAY else cell.key
        sums[key] = sums.get(key, Spent()) + cell.spent
        names.setdefault(key, cell.name)
    most = max((spent.amount_micros for spent in sums.values()), default=0) or 1
    if by is By.DAY:
        order = sorted(sums, reverse=True)
    else:
        order = sorted(sums, key=lambda key: (-sums[key].amount_micros, names[key], key))
    return [
        Group(
            key,
            names[key],
            sums[key],
            max(sums[key].amount_micros, 0) * 1000 // most,
            0 if by is By.DAY or place > SERIES_MAX else place,
        )
        for place, key in enumerate(order, 1)
    ]


def _blocks(sums: dict[int, Spent], names: dict[int, str], axis_micros: int) -> Iterable[Block]:
    """The parts of one bar from its foot up; "all others" last."""
    for series in sorted(sums, key=lambda one: one or SERIES_MAX + 1):
        amount = sums[series].amount_micros
        name = names.get(series, "All others") if names else "Spent"
        yield Block(series, name, amount, max(amount, 0) * 10_000 // axis_micros / 10)
