"""When the next step is started on a card: late, so that a stop is met, and never too late."""

import weakref
from functools import partial

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
    pace.came()


def waited(pace: Pace, clock: Clock) -> float:
    began = clock.now
    pace.wait()
    return clock.now - began


def draw(pace: Pace, clock: Clock, rows: int, step_seconds: float) -> list[float]:
    """What was waited for before each of four steps, each of which takes a moment to start."""
    pace.begins(rows)
    waits = [waited(pace, clock)]
    pace.started(0.01)
    pace.came()  # to the first
    for _ in range(3):
        waits.append(waited(pace, clock))
        pace.started(0.01)
        step_ends(pace, clock, step_seconds - waits[-1])
    return waits


def test_a_step_is_started_shortly_before_the_running_one_ends(clock: Clock) -> None:
    shortly = 2 * 0.01 + LEAD_SECONDS
    # How long a step takes is not known before the first has ended.
    assert draw(Pace(), clock, 1000, 0.1) == pytest.approx([0, 0, 0.1 - shortly, 0.1 - shortly])


def test_the_next_request_of_the_size_knows_it_from_its_first_step_on(clock: Clock) -> None:
    pace, shortly = Pace(), 2 * 0.01 + LEAD_SECONDS
    draw(pace, clock, 1000, 0.1)
    # A longer prompt: a tenth more rows.
    assert draw(pace, clock, 1100, 0.11) == pytest.approx([0, *[0.11 - shortly] * 3])


def test_nothing_is_waited_for_where_starting_takes_as_long_as_the_step(clock: Clock) -> None:
    pace = Pace()
    pace.begins(1000)
    pace.came()
    step_ends(pace, clock, 0.1)
    pace.started(0.06)
    assert waited(pace, clock) == 0


def test_each_step_is_reported_while_the_next_one_runs_and_the_last_when_asked_for() -> None:
    said: list[str] = []
    pace = Pace()
    pace.came()
    pace.came()  # a request of the size was drawn
    pace.begins(1)
    behind = Behind(object(), pace, partial(said.append, "reached"))
    assert said == []
    for step, before in enumerate((["reached"], ["reached", "0"], ["reached", "0", "1"])):
        behind.started(partial(said.append, str(step)), 0.0)
        assert said == before, "one behind the card"
    behind.settle()
    behind.settle()
    assert said == ["reached", "0", "1", "2"]


def test_before_a_size_is_known_its_first_step_is_awaited_before_the_second_is_started(
    clock: Clock,
) -> None:
    pace, said = Pace(), list[str]()

    def takes(name: str, seconds: float) -> None:
        clock.now += seconds
        said.append(name)

    behind = Behind(object(), pace, partial(takes, "reached", 0.5))
    behind.started(partial(takes, "0", 0.1), 0.01)
    assert said == ["reached", "0"], "nothing that runs was started ahead"
    assert waited(pace, clock) == 0
    behind.started(partial(takes, "1", 0.1), 0.01)
    assert said == ["reached", "0"]
    assert waited(pace, clock) == pytest.approx(0.1 - 2 * 0.01 - LEAD_SECONDS)
    behind.settle()
    assert said == ["reached", "0", "1"]


def test_what_the_steps_read_is_kept_until_the_last_is_done() -> None:
    class Read:
        pass

    read = Read()
    kept = weakref.ref(read)
    behind = Behind(read, Pace(), lambda: None)
    behind.started(lambda: None, 0.0)
    del read
    assert kept() is not None
    behind.settle()
    assert kept() is None
