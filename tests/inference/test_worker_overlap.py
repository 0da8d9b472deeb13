"""Neighbouring jobs in one worker: what overlaps, what waits, and what an end does to each."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fake_tools import fake_tools
from jobs import TOP_UP_MICROS, Desk, wait_until
from sqlalchemy import select

from inference import events, lifecycle, models, presence
from inference.engine import StepProgress
from inference.generations import Generation
from inference.job import generate, take
from inference.process import WorkerProcess
from inference.sweep import STALE_AFTER, sweep
from inference.teller import Teller
from inference.worker import WarmUp
from licensing.db import now

PRICE_MICROS = 15_000
LATER = STALE_AFTER + timedelta(seconds=5)


def touch(process: WorkerProcess, name: str) -> None:
    (process.settings.state_folder / name).touch()


def test_a_job_is_drawn_while_the_one_before_it_is_judged(
    desk: Desk, process: WorkerProcess
) -> None:
    first, second = desk.queue("judge late"), desk.queue("a red apple")
    assert take(process, first.id) is not None
    later = take(process, second.id)
    assert later is not None
    assert later.is_nearly_drawn.wait(20), "the device does not wait for the filter"
    wait_until(lambda: desk.read(second.id).steps_done == 8, "the second job's last step")
    assert [desk.read(job.id).state for job in (first, second)] == ["running", "running"]
    touch(process, "judged")
    assert later.is_over.wait(20)
    rows = [desk.read(job.id) for job in (first, second)]
    assert [row.state for row in rows] == ["finished", "finished"]
    assert rows[0].finished_at < rows[1].finished_at, "they are finished in order"  # type: ignore[operator]
    assert desk.balance().settled_micros == TOP_UP_MICROS - 2 * PRICE_MICROS


def test_both_jobs_in_hand_stay_fresh(desk: Desk, process: WorkerProcess) -> None:
    first, second = desk.queue("judge late"), desk.queue("wait for it")
    take(process, first.id)
    take(process, second.id)
    wait_until(lambda: desk.read(second.id).steps_done == 2, "the second job's second step")
    seen = [desk.read(job.id).heartbeat_at for job in (first, second)]
    wait_until(
        lambda: all(
            desk.read(job.id).heartbeat_at > at  # type: ignore[operator]
            for job, at in zip((first, second), seen, strict=True)
        ),
        "a heartbeat of each",
    )
    touch(process, "judged")
    touch(process, "go")


def test_what_is_drawn_is_delivered_and_what_is_not_goes_back(
    desk: Desk, process: WorkerProcess
) -> None:
    drawn, drawing = desk.queue("judge late"), desk.queue("wait for it")
    take(process, drawn.id)
    take(process, drawing.id)
    wait_until(lambda: desk.read(drawing.id).steps_done == 2, "the second job's second step")
    process.stop_soon()
    ending = threading.Thread(target=process.end)
    ending.start()
    touch(process, "judged")
    ending.join(timeout=20)
    assert not ending.is_alive()
    assert desk.read(drawn.id).state == "finished"
    row = desk.read(drawing.id)
    assert (row.state, row.attempts) == ("queued", 0)
    assert desk.balance().held_micros == PRICE_MICROS


def test_a_cancel_while_it_is_judged_delivers_nothing(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue("judge late")
    job = take(process, generation.id)
    assert job is not None
    wait_until(lambda: desk.read(generation.id).steps_done == 8, "the last step")
    with desk.database.transaction() as session:
        lifecycle.request_cancel(session, desk.member, generation.id)
    touch(process, "judged")
    assert job.is_over.wait(20)
    assert desk.read(generation.id).state == "cancelled"
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert list(process.storage.root.rglob("*.*")) == []


def test_jobs_that_break_leave_their_neighbours_alone(desk: Desk, process: WorkerProcess) -> None:
    prompts = ("a", "fault", "b", "unfiltered", "refuse 0", "c")
    jobs = [desk.queue(prompt) for prompt in prompts]
    on_line = [take(process, job.id) for job in jobs]
    for job in on_line:
        assert job is not None
        assert job.is_over.wait(20)
    states = [desk.read(job.id).state for job in jobs]
    assert states == ["finished", "failed", "finished", "failed", "refused", "finished"]
    assert desk.balance().settled_micros == TOP_UP_MICROS - 3 * PRICE_MICROS
    assert desk.balance().held_micros == 0


def test_a_database_slower_than_the_steps_holds_nothing_up(
    desk: Desk, process: WorkerProcess
) -> None:
    generation = desk.queue("wait for it", images=2)
    job = take(process, generation.id)
    assert job is not None
    wait_until(lambda: desk.read(generation.id).steps_done == 2, "the second step")
    with desk.database.transaction() as session:
        events.take_lane(session, desk.member.id)  # nobody can write this member's events now
        touch(process, "go")
        # Fourteen steps, decoding, the filter and the files, while not one event can be written.
        wait_until(lambda: len(list(process.storage.root.rglob("*.*"))) == 4, "the files")
    assert job.is_over.wait(20)
    with desk.database.read() as session:
        told = [(e.kind, e.data) for e in events.of_generation(session, generation.id)]
    assert [data["step"] for kind, data in told if kind == "step"] == list(range(1, 17))
    assert [kind for kind, _ in told][-3:] == ["step", "saved", "finished"]
    assert told[-3][1]["preview"] is not None


class Slow:
    """Takes its first note only when it is allowed to."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.begun = threading.Event()
        self.written: list[list[StepProgress]] = []

    def write(self, steps: Sequence[StepProgress]) -> None:
        self.begun.set()
        assert self.may.wait(20)
        self.written.append(list(steps))


def test_notes_pile_up_in_order_and_only_the_newest_keeps_its_preview() -> None:
    teller, slow = Teller(), Slow()
    teller.start()
    teller.tell(slow, StepProgress(1, 5, bytes))
    assert slow.begun.wait(20)
    for step in (2, 3, 4, 5):
        teller.tell(slow, StepProgress(step, 5, bytes))
    slow.may.set()
    teller.flush(slow)
    assert [[step.step for step in steps] for steps in slow.written] == [[1], [2, 3, 4, 5]]
    assert [step.preview is not None for step in slow.written[1]] == [False, False, False, True]
    teller.stop()


def test_a_lost_worker_loses_all_its_jobs_and_each_is_given_on_once(
    desk: Desk, process: WorkerProcess
) -> None:
    jobs = [desk.queue("judge late"), desk.queue("wait for it")]
    on_line = [take(process, job.id) for job in jobs]
    wait_until(lambda: desk.read(jobs[1].id).steps_done == 2, "the second job's second step")
    rung: list[object] = []
    swept = sweep(desk.database, lambda id_, _: rung.append(id_), now() + LATER)
    assert (swept.requeued, rung) == (2, [job.id for job in jobs])
    touch(process, "judged")
    touch(process, "go")
    assert all(job is not None and job.is_over.wait(20) for job in on_line)
    with desk.database.read() as session:
        states = set(session.scalars(select(Generation.state)))
    assert states == {"queued"}, "the late worker ended nothing"
    assert desk.balance().held_micros == 2 * PRICE_MICROS


def test_weights_are_loaded_before_anybody_asks(
    desk: Desk, process: WorkerProcess, tmp_path: Path
) -> None:
    warm_up(process)
    assert process.loaded is None, "a model without weights is not loaded beforehand"
    index = tmp_path / "weights" / "pocket-raw" / "model_index.json"
    index.parent.mkdir(parents=True)
    index.touch()
    other = WorkerProcess(process.settings, fake_tools)
    other.begin()
    warm_up(other)
    assert other.loaded == models.find("pocket-raw")
    with desk.database.read() as session:
        states = {worker.name: worker.state for worker in presence.alive(session)}
    assert states[other.name] == "ready"
    generate(other, desk.queue().id)
    assert other.loaded == models.find("pocket-turbo"), "the weights are exchanged for a job"
    other.end()


def warm_up(process: WorkerProcess) -> None:
    process.line.put(WarmUp(process))
    done = threading.Event()
    process.line.put(Last(done))
    assert done.wait(20)


@dataclass
class Last:
    """Work that says when its turn has come."""

    done: threading.Event

    def draw(self) -> None: ...

    def finish(self) -> None:
        self.done.set()
