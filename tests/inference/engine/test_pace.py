"""When the next step is started on a card: late, so that a stop is met, and never too late."""

import weakref

import pytest

from inference.engine import denoise
from inference.engine.denoise import LEAD_SECONDS, Behind, Pace


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(denoise, "time", clock)
    return clock


def step_ends(pace: Pace, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    pace.ended()


def test_the_first_steps_are_started_at_once(clock: Clock) -> None:
    pace = Pace()
    for _ in range(2):
        began = clock.now
        pace.wait()
        assert clock.now == began
        pace.started(0.01)
        step_ends(pace, clock, 0.1)


def test_then_a_step_is_started_shortly_before_the_running_one_ends(clock: Clock) -> None:
    pace = Pace()
    pace.started(0.01)
    for _ in range(2):
        step_ends(pace, clock, 0.1)
    ended = clock.now
    pace.wait()
    assert clock.now - ended == pytest.approx(0.1 - 2 * 0.01 - LEAD_SECONDS)


def test_nothing_is_waited_for_where_starting_takes_as_long_as_the_step(clock: Clock) -> None:
    pace = Pace()
    pace.started(0.06)
    for _ in range(2):
        step_ends(pace, clock, 0.1)
    began = clock.now
    pace.wait()
    assert clock.now == began


def test_each_step_is_reported_while_the_next_one_runs_and_the_last_when_asked_for() -> None:
    said: list[int] = []
    behind = Behind(reads=object())
    for step in range(3):
        behind.started(lambda step=step: said.append(step), 0.0)  # type: ignore[misc]
        assert said == list(range(step)), "one behind the card"
    behind.settle()
    behind.settle()
    assert said == [0, 1, 2]


def test_what_the_steps_read_is_kept_until_the_last_is_done() -> None:
    class Read:
        pass

    read = Read()
    kept = weakref.ref(read)
    behind = Behind(reads=read)
    behind.started(lambda: None, 0.0)
    del read
    assert kept() is not None
    behind.settle()
    assert kept() is None
