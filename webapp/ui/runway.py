"""When the balance runs out: a forecast that says how it was computed. Pure integer arithmetic.

The *pace* is what was spent on the last 7 and on the last 28 complete days (UTC; today is not
over and does not count), days without use included; a studio younger than that is measured from
its first day of use. The forecast spends each pace day by day from what is available, lots in the
order in which the ledger burns them, and lets what expires on the way expire. The credit of an
invoiced customer is not counted: it is owed, not owned.

Called by `webapp.ui.funds`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

PACE_DAYS = (7, 28)  # a week smooths weekends; four of them smooth a campaign
HORIZON_DAYS = 366  # beyond a year the pace says nothing


@dataclass(frozen=True)
class Part:
    """Money that came in together, and until when it can be used (None: for ever)."""

    micros: int
    expires_at: datetime | None


@dataclass(frozen=True)
class Pace:
    """What was spent in `days` complete days before today."""

    days: int
    spent_micros: int

    @property
    def per_day_micros(self) -> int:
        """The mean of a day, rounded down to a millionth of a dollar."""
        return self.spent_micros // self.days


@dataclass(frozen=True)
class Runway:
    """A forecast: what is left at the end of each day, and the day on which nothing is.

    `left_micros[0]` is today, before anything more is spent. `ends_on` is None where the money
    lasts longer than a year. `expired_micros` is lost on the way, because nobody used it in time.
    """

    pace: Pace
    left_micros: tuple[int, ...]
    ends_on: date | None
    expired_micros: int


def paces(spent_micros: Mapping[date, int], *, first_use: date | None, today: date) -> list[Pace]:
    """Measure the pace over each window; shorter ones are dropped where history is shorter.

    Empty where no complete day lies between the first use and today, or nothing was spent.
    """
    if first_use is None:
        return []
    found: list[Pace] = []
    for window in PACE_DAYS:
        days = min(window, (today - first_use).days)
        spent = sum(spent_micros.get(today - timedelta(days=n), 0) for n in range(1, days + 1))
        if spent > 0 and days not in {pace.days for pace in found}:
            found.append(Pace(days, spent))
    return found


def forecast(parts: Sequence[Part], *, held_micros: int, pace: Pace, today: date) -> Runway:
    """Spend `pace` from tomorrow on, from `parts` in their order, after what is on hold now."""
    left = [part.micros for part in parts]
    _take(left, held_micros)
    track = [sum(left)]
    expired = 0
    for number in range(1, HORIZON_DAYS + 1):
        day = today + timedelta(days=number)
        expired += _expire(left, parts, day)
        due = (
            pace.spent_micros * number // pace.days - pace.spent_micros * (number - 1) // pace.days
        )
        missing = _take(left, due)
        track.append(sum(left))
        if missing or not track[-1]:
            return Runway(pace, tuple(track), day, expired)
    return Runway(pace, tuple(track), None, expired)


def _take(left: list[int], amount_micros: int) -> int:
    """Take from the first parts first; return what nobody could pay."""
    for index, micros in enumerate(left):
        paid = min(micros, amount_micros)
        left[index] -= paid
        amount_micros -= paid
    return amount_micros


def _expire(left: list[int], parts: Sequence[Part], day: date) -> int:
    lost = 0
    for index, part in enumerate(parts):
        if part.expires_at is not None and part.expires_at.date() < day:
            lost += left[index]
            left[index] = 0
    return lost
