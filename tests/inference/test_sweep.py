"""The sweep: what was lost is found once, however many look for it."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from jobs import TOP_UP_MICROS, Desk
from sqlalchemy import update

from inference import events, lifecycle
from inference.generations import QUEUED_MAX, RUNNING_MAX, Generation
from inference.queue import create_celery, enqueue
from inference.sweep import RESEND_AFTER, STALE_AFTER, Swept, sweep
from licensing import ledger
from licensing.db import now

PRICE_MICROS = 15_000
LATER = STALE_AFTER + timedelta(seconds=5)


class Bell:
    """Stands for the broker: remembers who was rung for."""

    def __init__(self) -> None:
        self.rung: list[uuid.UUID] = []

    def __call__(self, generation_id: uuid.UUID, model: str) -> None:
        assert model == "pocket-turbo"
        self.rung.append(generation_id)


def claim(desk: Desk, generation_id: uuid.UUID) -> Generation:
    with desk.database.transaction() as session:
        claimed = lifecycle.claim(session, generation_id, "w1")
    assert claimed is not None
    return claimed


def test_a_healthy_studio_is_left_alone(desk: Desk) -> None:
    bell = Bell()
    desk.queue()
    claim(desk, desk.queue().id)
    assert sweep(desk.database, bell) == Swept()
    assert bell.rung == []


def test_a_message_that_got_lost_is_sent_again_once_in_a_while(desk: Desk) -> None:
    bell, first, second = Bell(), desk.queue(), desk.queue()
    at = now() + RESEND_AFTER + timedelta(seconds=1)
    assert sweep(desk.database, bell, at).resent == 2
    assert bell.rung == [first.id, second.id]
    assert sweep(desk.database, bell, at).resent == 0
    assert desk.balance().held_micros == 2 * PRICE_MICROS


def test_a_silent_worker_loses_its_job_to_the_queue_then_for_good(desk: Desk) -> None:
    bell, generation = Bell(), desk.queue()
    claim(desk, generation.id)
    assert sweep(desk.database, bell, now() + LATER).requeued == 1
    assert bell.rung == [generation.id]
    assert desk.balance().held_micros == PRICE_MICROS, "it is still going to be made"

    claim(desk, generation.id)
    assert sweep(desk.database, bell, now() + LATER).failed == 1
    row = desk.read(generation.id)
    assert (row.state, row.error_code, row.attempts) == ("failed", "worker_lost", 2)
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert sweep(desk.database, bell, now() + LATER) == Swept()
    with desk.database.read() as session:
        story = events.of_generation(session, generation.id)
    assert [event.kind for event in story] == ["queued", "started", "queued", "started", "failed"]
    assert story[2].data == {"position": 1, "retry": True}


def test_a_cancel_is_granted_by_the_sweep_if_the_worker_is_gone(desk: Desk) -> None:
    generation = claim(desk, desk.queue().id)
    with desk.database.transaction() as session:
        lifecycle.request_cancel(session, desk.member, generation.id)
    assert sweep(desk.database, Bell(), now() + LATER).cancelled == 1
    assert desk.read(generation.id).state == "cancelled"
    assert desk.balance().available_micros == TOP_UP_MICROS


@pytest.mark.parametrize(
    ("age", "code"),
    [
        (lambda at: {"created_at": at - QUEUED_MAX}, "queued_too_long"),
        (lambda at: {"state": "running", "started_at": at - RUNNING_MAX}, "ran_too_long"),
    ],
)
def test_what_takes_longer_than_any_job_may_is_failed(
    desk: Desk, age: Callable[[datetime], dict[str, object]], code: str
) -> None:
    generation = desk.queue()
    values = age(now() - timedelta(seconds=1))
    with desk.database.transaction() as session:
        session.execute(update(Generation).values(heartbeat_at=now(), **values))
    assert sweep(desk.database, Bell()).expired == 1
    assert desk.read(generation.id).error_code == code
    assert desk.balance().available_micros == TOP_UP_MICROS


def test_a_job_whose_hold_expired_is_failed(desk: Desk) -> None:
    generation = desk.queue()
    with desk.database.transaction() as session:
        session.execute(update(Generation).values(created_at=now() + 2 * QUEUED_MAX))
    after = now() + ledger.HOLD_LIFETIME + timedelta(seconds=1)
    assert sweep(desk.database, Bell(), after).expired == 1
    assert desk.read(generation.id).error_code == "hold_expired"
    assert desk.balance().available_micros == TOP_UP_MICROS


def test_many_sweeps_at_once_do_each_thing_once(desk: Desk) -> None:
    bell = Bell()
    lost = [claim(desk, desk.queue().id).id for _ in range(3)]
    for generation_id in lost:
        with desk.database.transaction() as session:
            session.execute(
                update(Generation).where(Generation.id == generation_id).values(attempts=2)
            )
    waiting = [desk.queue().id for _ in range(3)]
    at = now() + RESEND_AFTER + timedelta(seconds=1)
    with ThreadPoolExecutor(4) as pool:
        swept = list(pool.map(lambda _: sweep(desk.database, bell, at), range(4)))
    assert sum(one.failed for one in swept) == len(lost)
    assert sum(one.resent for one in swept) == len(waiting)
    assert sorted(bell.rung) == sorted(waiting)
    assert desk.balance().held_micros == len(waiting) * PRICE_MICROS


def test_a_broker_that_is_away_is_no_error_for_the_person(desk: Desk) -> None:
    generation = desk.queue()
    celery = create_celery("redis+socket:///nowhere/valkey.sock")
    assert enqueue(celery, generation.id, generation.model) is False
    assert desk.read(generation.id).state == "queued"
