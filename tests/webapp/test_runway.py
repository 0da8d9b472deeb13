"""The forecast of the balance: which pace, which day, and what runs out on the way."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from webapp.ui.runway import HORIZON_DAYS, Pace, Part, forecast, paces

TODAY = date(2026, 11, 22)
DAY = timedelta(days=1)


def spent_daily(micros: int, days: int) -> dict[date, int]:
    return {TODAY - number * DAY: micros for number in range(days)}


def test_the_pace_is_the_mean_of_complete_days_and_today_is_none() -> None:
    spent = {TODAY: 9_000_000, TODAY - DAY: 7_000_000, TODAY - 10 * DAY: 21_000_000}
    week, month = paces(spent, first_use=date(2026, 1, 1), today=TODAY)
    assert (week, month) == (Pace(7, 7_000_000), Pace(28, 28_000_000))
    assert week.per_day_micros == month.per_day_micros == 1_000_000


def test_a_young_studio_is_measured_from_its_first_day() -> None:
    began = TODAY - 3 * DAY
    assert paces(spent_daily(3, 4), first_use=began, today=TODAY) == [Pace(3, 9)]
    assert paces(spent_daily(3, 1), first_use=TODAY, today=TODAY) == []
    assert paces({}, first_use=date(2026, 1, 1), today=TODAY) == []
    assert paces({}, first_use=None, today=TODAY) == []


def test_the_money_ends_on_the_day_that_its_pace_takes_it_to() -> None:
    pace = Pace(7, 7_000_000)
    made = forecast([Part(10_000_000, None)], held_micros=0, pace=pace, today=TODAY)
    assert made.ends_on == TODAY + 10 * DAY
    assert made.left_micros == tuple(range(10_000_000, -1, -1_000_000))
    held = forecast([Part(10_000_000, None)], held_micros=2_500_000, pace=pace, today=TODAY)
    assert held.ends_on == TODAY + 8 * DAY
    rich = forecast([Part(10**12, None)], held_micros=0, pace=pace, today=TODAY)
    assert rich.ends_on is None
    assert len(rich.left_micros) == HORIZON_DAYS + 1


def test_what_nobody_uses_in_time_is_lost_on_the_way() -> None:
    gift = Part(5_000_000, datetime(2026, 11, 24, 12, tzinfo=UTC))
    made = forecast(
        [gift, Part(3_000_000, None)], held_micros=0, pace=Pace(7, 7_000_000), today=TODAY
    )
    assert made.expired_micros == 3_000_000, "two days used two of the five"
    assert made.ends_on == TODAY + 5 * DAY


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=4),
    st.integers(1, 10**9),
    st.integers(1, 28),
)
def test_every_micro_is_spent_left_or_lost(parts: list[int], spent: int, days: int) -> None:
    expiring = [
        Part(micros, datetime(2026, 12, 1 + number, tzinfo=UTC) if number % 2 else None)
        for number, micros in enumerate(parts)
    ]
    made = forecast(expiring, held_micros=0, pace=Pace(days, spent), today=TODAY)
    assert made.left_micros[0] == sum(parts)
    assert list(made.left_micros) == sorted(made.left_micros, reverse=True)
    gone = made.left_micros[0] - made.left_micros[-1]
    due = spent * (len(made.left_micros) - 1) // days
    assert 0 <= gone - made.expired_micros <= due
    if made.ends_on is None:
        assert gone - made.expired_micros == due
