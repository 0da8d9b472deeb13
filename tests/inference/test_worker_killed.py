"""Chaos: a real worker process behind a real broker, killed with -9 in the middle of a job."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import redis
from jobs import TOP_UP_MICROS, Desk, wait_until

from inference import presence, probe
from inference.queue import create_celery, enqueue, enqueue_probe
from inference.sweep import STALE_AFTER, sweep
from licensing import adapters
from licensing.adapters import Adapter, Brought
from licensing.db import now

PRICE_MICROS = 15_000
HERE = Path(__file__).parent
LATER = STALE_AFTER + timedelta(seconds=5)

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(database_url: str, broker_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start `fake_worker.py worker` or `beat` on this test's database, its broker emptied."""
    redis.Redis.from_url(broker_url.replace("redis+socket", "unix")).flushall()
    environment = {
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
        "ATELIER_STATE": str(tmp_path),
        "ATELIER_WEIGHTS": str(tmp_path / "weights"),
    }
    family: list[subprocess.Popen[bytes]] = []

    def begin(which: str) -> "subprocess.Popen[bytes]":
        log = (tmp_path / f"{which}-{len(family)}.log").open("wb")
        command = [sys.executable, str(HERE / "fake_worker.py"), which]
        env = os.environ | environment
        process = subprocess.Popen(command, env=env, cwd=HERE, stdout=log, stderr=log)
        log.close()
        family.append(process)
        return process

    yield begin
    for process in family:
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """The pool processes of a worker; none once it is gone."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


def test_a_killed_worker_is_replaced_and_the_money_moves_once(
    desk: Desk, start: Start, broker_url: str, tmp_path: Path
) -> None:
    celery = create_celery(broker_url)
    ring = partial(enqueue, celery)
    generation = desk.queue("wait for it")
    assert ring(generation.id, generation.model)

    first = start("worker")
    wait_until(lambda: desk.read(generation.id).steps_done == 2, "the first worker's second step")
    for child in children(first.pid):
        os.kill(child, signal.SIGKILL)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert desk.read(generation.id).state == "running"
    assert desk.balance().held_micros == PRICE_MICROS

    swept = sweep(desk.database, ring, now() + LATER)
    assert swept.requeued == 1
    second = start("worker")
    wait_until(partial(reached, desk, generation.id, 2), "the second worker's second step")
    (tmp_path / "go").touch()
    wait_until(lambda: desk.read(generation.id).state == "finished", "the picture")
    assert desk.balance().settled_micros == TOP_UP_MICROS - PRICE_MICROS
    assert desk.balance().held_micros == 0

    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=20) == 0
    assert sweep(desk.database, ring, now() + LATER).failed == 0


def test_a_job_that_kills_its_worker_twice_is_failed_and_its_hold_released_once(
    desk: Desk, start: Start, broker_url: str
) -> None:
    celery = create_celery(broker_url)
    ring = partial(enqueue, celery)
    generation = desk.queue("wait for it")
    ring(generation.id, generation.model)
    worker = start("worker")
    for attempt in (1, 2):
        wait_until(partial(reached, desk, generation.id, attempt), f"attempt {attempt}")
        (child,) = children(worker.pid)
        os.kill(child, signal.SIGKILL)  # the child alone: its parent replaces it
        sweep(desk.database, ring, now() + LATER)
    row = desk.read(generation.id)
    assert (row.state, row.error_code) == ("failed", "worker_lost")
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert sweep(desk.database, ring, now() + LATER).failed == 0

    healthy = desk.queue("a red apple")
    ring(healthy.id, healthy.model)
    wait_until(lambda: desk.read(healthy.id).state == "finished", "the next person's picture")


def test_every_gpu_has_a_process_of_its_own_and_keeps_one(
    desk: Desk, start: Start, broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five GPUs in pairs: two processes, which draw at once, and one GPU that rests."""
    monkeypatch.setenv("FAKE_GPUS", "5")
    monkeypatch.setenv("ATELIER_GPUS_PER_PICTURE", "2")

    def saw_all() -> bool:
        return {path.name for path in tmp_path.glob("saw *")} == {"saw 0,1", "saw 2,3"}

    celery = create_celery(broker_url)
    both = [desk.queue("wait for it"), desk.queue("wait for it")]
    for one in both:
        enqueue(celery, one.id, one.model)
    worker = start("worker")
    wait_until(lambda: all(desk.read(one.id).steps_done == 2 for one in both), "both at once")
    assert saw_all()
    with desk.database.read() as session:
        assert {one.device for one in presence.alive(session)} == {"GPU 0,1", "GPU 2,3"}

    for path in tmp_path.glob("saw *"):
        path.unlink()
    before = children(worker.pid)
    for child in before:
        os.kill(child, signal.SIGKILL)
    wait_until(saw_all, "a process again for each")
    assert len(children(worker.pid)) == 2


def test_a_worker_without_the_gpus_that_a_picture_is_to_take_does_not_start(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPUS", "1")
    monkeypatch.setenv("ATELIER_GPUS_PER_PICTURE", "4")
    assert start("worker").wait(timeout=30) != 0
    said = (tmp_path / "worker-0.log").read_text()
    assert "ATELIER_GPUS_PER_PICTURE is 4, and this machine has one GPU." in said


def test_a_worker_that_was_stopped_and_comes_back_can_settle_nothing(
    desk: Desk, start: Start, broker_url: str, tmp_path: Path
) -> None:
    celery = create_celery(broker_url)
    generation = desk.queue("wait for it")
    enqueue(celery, generation.id, generation.model)
    worker = start("worker")
    wait_until(lambda: desk.read(generation.id).steps_done == 2, "the second step")
    (child,) = children(worker.pid)
    os.kill(child, signal.SIGSTOP)
    sweep(desk.database, lambda *_: None, now() + LATER)
    (tmp_path / "go").touch()
    os.kill(child, signal.SIGCONT)
    wait_until(lambda: presence_state(desk) == "ready", "the late worker to give up")
    assert desk.read(generation.id).state == "queued"
    assert desk.balance().held_micros == PRICE_MICROS
    assert list((tmp_path / "pictures").rglob("*.*")) == []


def test_a_worker_told_to_stop_hands_its_job_back_unspent(
    desk: Desk, start: Start, broker_url: str, tmp_path: Path
) -> None:
    ring = partial(enqueue, create_celery(broker_url))
    generation = desk.queue("wait for it")
    ring(generation.id, generation.model)
    first = start("worker")
    wait_until(partial(reached, desk, generation.id, 1), "the second step")
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=20) == 0
    row = desk.read(generation.id)
    assert (row.state, row.attempts) == ("queued", 0)
    assert desk.balance().held_micros == PRICE_MICROS
    assert presence_state(desk) is None

    assert sweep(desk.database, ring).resent == 1
    (tmp_path / "go").touch()
    start("worker")
    wait_until(lambda: desk.read(generation.id).state == "finished", "the picture")
    assert desk.balance().settled_micros == TOP_UP_MICROS - PRICE_MICROS


def test_a_killed_check_of_a_lora_is_begun_again_behind_what_is_paid_for(
    desk: Desk, start: Start, broker_url: str, tmp_path: Path
) -> None:
    celery = create_celery(broker_url)
    (tmp_path / "weights" / "pocket-turbo").mkdir(parents=True)
    (tmp_path / "weights" / "pocket-turbo" / "model_index.json").write_text("{}")
    brought = Brought("ab" * 32, 6, "pocket", "peft", 12, 16)
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / f"{brought.sha256}.safetensors").write_bytes(b"a file")
    with desk.database.transaction() as session:
        lora, _ = adapters.bring(session, desk.member, brought, name="Ink", triggers="wait for it")
    enqueue_probe(celery, lora.id, lora.family)
    first = start("worker")
    wait_until(lambda: read(desk, lora.id).worker is not None, "the first worker")
    for child in children(first.pid):
        os.kill(child, signal.SIGKILL)
    first.send_signal(signal.SIGKILL)
    first.wait()

    with desk.database.transaction() as session:  # what its silence would do by and by
        presence.leave(session, str(read(desk, lora.id).worker))
    assert probe.take_waiting(desk.database) == [(lora.id, "pocket")]
    enqueue_probe(celery, lora.id, lora.family)
    generation = desk.queue("a red apple")
    enqueue(celery, generation.id, generation.model)
    (tmp_path / "go").touch()
    start("worker")
    wait_until(lambda: read(desk, lora.id).state == "ready", "the check")
    checked, finished_at = read(desk, lora.id), desk.read(generation.id).finished_at
    assert (checked.attempts, checked.worker) == (2, None)
    assert finished_at is not None
    assert checked.probed_at is not None
    assert finished_at < checked.probed_at, "who pays comes first"


def read(desk: Desk, adapter_id: uuid.UUID) -> Adapter:
    with desk.database.read() as session:
        return adapters.access(session, desk.member, adapter_id)


def test_the_beat_sweeps_without_any_worker(desk: Desk, start: Start) -> None:
    generation = desk.queue("wait for it")
    with desk.database.transaction() as session:
        session.merge(desk.read(generation.id)).created_at = now() - timedelta(days=2)
    start("beat")
    wait_until(lambda: desk.read(generation.id).state == "failed", "the sweep")
    assert desk.balance().available_micros == TOP_UP_MICROS


def presence_state(desk: Desk) -> str | None:
    with desk.database.read() as session:
        return next((worker.state for worker in presence.alive(session)), None)


def reached(desk: Desk, generation_id: uuid.UUID, attempt: int) -> bool:
    row = desk.read(generation_id)
    return (row.attempts, row.steps_done) == (attempt, 2)
