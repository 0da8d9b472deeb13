"""What the address of the finance page asks for: a month, a grouping, filters, a page.

Every total on the page leads to the same address with one filter more, until single generations
are left; `Wanted` writes those addresses. Pure.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from urllib.parse import urlencode

from licensing import usage_sums
from licensing.errors import AtelierError
from licensing.usage_sums import Filters
from webapp.ui.months import Month

NOTHING = "-"  # in an address: those without a team, project, cost centre or key


class By(StrEnum):
    """How usage is grouped."""

    MODEL = "model"
    MEMBER = "member"
    TEAM = "team"
    PROJECT = "project"
    COST_CENTRE = "cost_centre"
    API_KEY = "api_key"
    DAY = "day"
    GENERATION = "generation"


BY_WORDS = {
    By.MODEL: "Model",
    By.MEMBER: "Member",
    By.TEAM: "Team",
    By.PROJECT: "Project",
    By.COST_CENTRE: "Cost centre",
    By.API_KEY: "API key",
    By.DAY: "Day (UTC)",
    By.GENERATION: "Generation",
}
FILTERS = tuple(by for by in By if by is not By.GENERATION)
NONE_WORDS = {
    By.TEAM: "No team",
    By.PROJECT: "No project",
    By.COST_CENTRE: "No cost centre",
    By.API_KEY: "On the page, without a key",
}


class InvalidFilter(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A filter in the address that cannot be meant."""

    code = "invalid_filter"
    status = 422


@dataclass(frozen=True)
class Wanted:
    """What the address asks for. `filters` holds keys as text; `NOTHING` means: without one."""

    month: Month
    by: By = By.MODEL
    filters: tuple[tuple[By, str], ...] = ()
    part: int = 1

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """From when to when: the month, or one day of it."""
        if key := self.key_of(By.DAY):
            start = datetime.combine(date.fromisoformat(key), datetime.min.time(), UTC)
            return start, start + timedelta(days=1)
        return self.month.bounds

    @property
    def conditions(self) -> Filters:
        """The filters as the sums take them."""
        return {
            usage_sums.By(by): "" if key == NOTHING else key
            for by, key in self.filters
            if by is not By.DAY
        }

    def key_of(self, by: By) -> str:
        """The key that is looked at, or nothing."""
        return dict(self.filters).get(by, "")

    @property
    def search(self) -> str:
        """The address of this, without the path."""
        pairs = [("month", str(self.month)), ("by", str(self.by))]
        pairs += [(str(by), key) for by, key in self.filters]
        pairs += [("part", str(self.part))] if self.part > 1 else []
        return urlencode(pairs)

    def only(self, by: By, key: str, then: By | None = None) -> "Wanted":
        """The same with one filter more (or another), grouped by what is worth seeing next."""
        kept = tuple(pair for pair in self.filters if pair[0] is not by)
        return replace(self, filters=(*kept, (by, key)), by=then or self.by, part=1)

    def without(self, by: By) -> "Wanted":
        """The same with that filter gone."""
        return replace(self, filters=tuple(p for p in self.filters if p[0] is not by), part=1)

    def at_part(self, part: int) -> "Wanted":
        """Another page of the same."""
        return replace(self, part=part)

    def grouped(self, by: By) -> "Wanted":
        """The same, grouped otherwise."""
        return replace(self, by=by, part=1)


def parse_filters(words: Iterable[tuple[By, str]], month: Month) -> tuple[tuple[By, str], ...]:
    """Read the filters of an address; raises `InvalidFilter`."""
    found = tuple((by, key) for by, key in words if key)
    for by, key in found:
        if by in {By.MEMBER, By.TEAM, By.API_KEY} and key != NOTHING:
            _uuid(key)
        if by is By.DAY and _day(key) not in month.days:
            raise InvalidFilter(f"Name a day of {month.name}, such as {month}-01.")
    return found


def _uuid(words: str) -> uuid.UUID:
    try:
        return uuid.UUID(words)
    except ValueError as error:
        raise InvalidFilter("There is nobody and nothing with this id.") from error


def _day(words: str) -> date:
    try:
        return date.fromisoformat(words)
    except ValueError as error:
        raise InvalidFilter("Name a day such as 2026-11-22.") from error
