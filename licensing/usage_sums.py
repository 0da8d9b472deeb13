"""What was used, added up by day, member, team, model, project and so on; and the lines behind it.

Owns the table `usage_day`: the sums of `usage_line` for each day (UTC) and each way to group it.
A trigger adds every line in the transaction that writes it, so that a page over a million lines
reads some thousand rows and is never behind. `licensing.audit` compares both. Reads only.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Identity,
    String,
    UniqueConstraint,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from licensing.db import Base
from licensing.usage import UsageLine

LINES_ON_PAGE = 50
PAGES_MAX = 20_000  # the last page of a million lines; a deeper one is asked for by a program


class By(StrEnum):
    """What sums can be grouped and filtered by."""

    DAY = "day"
    MEMBER = "member"
    MODEL = "model"
    TEAM = "team"
    PROJECT = "project"
    COST_CENTRE = "cost_centre"
    API_KEY = "api_key"


# What to look at: for each way of grouping the key of one group, as `Sum.keys` gives it. An empty
# key means the lines that have none: no team, no project.
Filters = Mapping[By, str]


@dataclass(frozen=True)
class Sum:
    """What one group used. `keys` and `names` follow the grouping asked for; no key is `""`."""

    keys: tuple[str, ...]
    names: tuple[str, ...]
    generations: int
    corrections: int
    images: int
    amount_micros: int

    @property
    def key(self) -> str:
        """The first key: an id, a day such as `2026-11-03`, a model, a project."""
        return self.keys[0]

    @property
    def name(self) -> str:
        """The first name, as it was last written; the key itself where there is no other."""
        return self.names[0]


@dataclass(frozen=True)
class Drill:
    """One page of the lines behind a sum, newest first, and how many there are."""

    lines: list[UsageLine]
    total: int
    page: int
    pages: int


def summary(
    session: Session,
    organisation_id: uuid.UUID,
    start: datetime,
    end: datetime,
    *,
    by: By | Sequence[By] = (),
    filters: Filters | None = None,
) -> list[Sum]:
    """Add up the days from `start` (included) to `end` (excluded), the dearest group first.

    Both are midnights, UTC. Grouped by nothing it is one sum, of nothing if nothing was used; days
    come newest first. Raises `ValueError` for a key that cannot be one.
    """
    ways = (by,) if isinstance(by, By) else tuple(by)
    keys = [_key_of(way) for way in ways]
    amount = func.coalesce(func.sum(UsageDay.amount_micros), 0)
    order: list[ColumnElement[Any]] = [amount.desc()]
    order += keys
    if ways[:1] == (By.DAY,):
        order.insert(0, keys[0].desc())
    query = (
        select(
            func.coalesce(func.sum(UsageDay.lines).filter(UsageDay.kind == "usage"), 0),
            func.coalesce(func.sum(UsageDay.lines).filter(UsageDay.kind == "correction"), 0),
            func.coalesce(func.sum(UsageDay.images), 0),
            amount,
            *keys,
            *(_name_of(way) for way in ways),
        )
        .where(*_days(organisation_id, start, end), *_conditions(filters, UsageDay))
        .group_by(*keys)
        .order_by(*order)
    )
    return [
        Sum(
            keys=tuple(str(key) for key in row[4 : 4 + len(ways)]),
            names=tuple(str(name) for name in row[4 + len(ways) :]),
            generations=int(row[0]),
            corrections=int(row[1]),
            images=int(row[2]),
            amount_micros=int(row[3]),
        )
        for row in session.execute(query)
    ]


def drill(
    session: Session,
    organisation_id: uuid.UUID,
    start: datetime,
    end: datetime,
    *,
    filters: Filters | None = None,
    page: int = 1,
) -> Drill:
    """Read one page of the lines from `start` to `end` (midnights, UTC) behind a sum."""
    [sums] = summary(session, organisation_id, start, end, filters=filters)
    total = sums.generations + sums.corrections
    pages = max(-(-total // LINES_ON_PAGE), 1)
    page = min(max(page, 1), pages, PAGES_MAX)
    query = (
        select(UsageLine)
        .where(
            UsageLine.organisation_id == organisation_id,
            UsageLine.at >= start,
            UsageLine.at < end,
            *_conditions(filters, UsageLine),
        )
        .order_by(UsageLine.at.desc(), UsageLine.id.desc())
        .offset((page - 1) * LINES_ON_PAGE)
        .limit(LINES_ON_PAGE)
    )
    return Drill(list(session.scalars(query)), total, page, pages)


class UsageDay(Base):
    """The sums of one day's lines that are alike in everything that they are grouped by.

    The names are those of the last line. No verb writes here: a trigger on `usage_line` does. Usage
    and corrections have rows of their own, so that a refund, which has locked the wallet, never
    waits for a settlement that waits for the wallet.
    """

    __tablename__ = "usage_day"
    __table_args__ = (
        UniqueConstraint(
            "organisation_id",
            "day",
            "kind",
            "member_id",
            "model",
            "team_id",
            "project",
            "cost_centre",
            "api_key_id",
            name="uq_usage_day_key",
            postgresql_nulls_not_distinct=True,
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    day: Mapped[date]
    kind: Mapped[str]
    member_id: Mapped[uuid.UUID]
    model: Mapped[str]
    team_id: Mapped[uuid.UUID | None]
    project: Mapped[str | None]
    cost_centre: Mapped[str | None]
    api_key_id: Mapped[uuid.UUID | None]
    member_name: Mapped[str]
    team_name: Mapped[str | None]
    api_key_name: Mapped[str | None]
    lines: Mapped[int]
    images: Mapped[int]
    amount_micros: Mapped[int]


_KEYS: dict[By, InstrumentedAttribute[object]] = {
    By.DAY: UsageDay.day,
    By.MEMBER: UsageDay.member_id,
    By.MODEL: UsageDay.model,
    By.TEAM: UsageDay.team_id,
    By.PROJECT: UsageDay.project,
    By.COST_CENTRE: UsageDay.cost_centre,
    By.API_KEY: UsageDay.api_key_id,
}

_NAMES: dict[By, InstrumentedAttribute[str | None]] = {
    By.MEMBER: UsageDay.member_name,
    By.TEAM: UsageDay.team_name,
    By.API_KEY: UsageDay.api_key_name,
}


# Written out, not bound: PostgreSQL groups by an expression only if it reads the same everywhere.
_NONE: ColumnElement[str] = literal_column("''", String)


def _key_of(way: By) -> ColumnElement[str]:
    return func.coalesce(cast(_KEYS[way], String), _NONE)


def _name_of(way: By) -> ColumnElement[str]:
    """The name of a group is the one of its last line, so that a rename does not split it."""
    if way not in _NAMES:
        return _key_of(way)
    names = func.array_agg(aggregate_order_by(_NAMES[way], UsageDay.day.desc(), UsageDay.id.desc()))
    return func.coalesce(names[1], _NONE)


def _days(
    organisation_id: uuid.UUID, start: datetime, end: datetime
) -> tuple[ColumnElement[bool], ...]:
    return (
        UsageDay.organisation_id == organisation_id,
        UsageDay.day >= start.date(),
        UsageDay.day < end.date(),
    )


def _conditions(
    filters: Filters | None, table: type[UsageDay] | type[UsageLine]
) -> list[ColumnElement[bool]]:
    conditions = []
    for way, key in (filters or {}).items():
        if way is By.DAY:
            raise ValueError("ask for a day by its start and end")
        name = _KEYS[way].key
        column: InstrumentedAttribute[object] = getattr(table, name)
        value = uuid.UUID(key) if key and name.endswith("_id") else key
        conditions.append(column == value if key else column.is_(None))
    return conditions
