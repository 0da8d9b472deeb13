"""One row, many hands: each change happens once, and the money moves once with it."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from jobs import TOP_UP_MICROS, Desk
from sqlalchemy import select, true
from sqlalchemy.orm import Session

from inference import events, generations, history, lifecycle, repairs
from inference.generations import IN_FLIGHT_MAX, Generation, TooManyInFlight
from inference.lifecycle import Made
from licensing import ledger
from licensing.db import now
from licensing.errors import Conflict, NotFound
from licensing.usage import UsageLine

PRICE_MICROS = 15_000


def pictures(count: int, refused: tuple[int, ...] = ()) -> list[Made]:
    return [
        Made(
            id=uuid.uuid4(),
            index=index,
            seed=index,
            key=f"k{index}",
            thumbnail_key=f"t{index}",
            sha256="0" * 64,
            refused=index in refused,
        )
        for index in range(count)
    ]


def claim(desk: Desk, generation: Generation, worker: str = "w1") -> Generation:
    with desk.database.transaction() as session:
        claimed = lifecycle.claim(session, generation.id, worker)
    assert claimed is not None
    return claimed


def kinds(desk: Desk, generation: Generation) -> list[str]:
    with desk.database.read() as session:
        return [event.kind for event in events.of_generation(session, generation.id)]


def test_a_double_click_makes_one_generation_and_one_hold(desk: Desk) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: desk.queue(key="click"), range(4)))
    assert len({generation.id for generation in made}) == 1
    assert desk.balance().held_micros == PRICE_MICROS


def test_the_key_of_another_request_is_a_conflict(desk: Desk) -> None:
    desk.queue("an apple", key="k")
    with pytest.raises(Conflict):
        desk.queue("a pear", key="k")


def test_one_member_cannot_fill_the_queue(desk: Desk) -> None:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: _outcome(desk.queue), range(IN_FLIGHT_MAX + 3)))
    assert outcomes.count(TooManyInFlight) == 3
    assert desk.balance().held_micros == IN_FLIGHT_MAX * PRICE_MICROS


def test_positions_count_what_waits_in_front(desk: Desk) -> None:
    first, second, third = (desk.queue() for _ in range(3))
    claim(desk, first)
    with desk.database.read() as session:
        places = [generations.queue_position(session, g.id) for g in (first, second, third)]
        queued = events.of_generation(session, third.id)
    assert places == [0, 1, 2]
    assert queued[0].data == {"position": 3}


def test_one_of_many_workers_claims(desk: Desk) -> None:
    generation = desk.queue()

    def attempt(worker: int) -> bool:
        with desk.database.transaction() as session:
            return lifecycle.claim(session, generation.id, f"w{worker}") is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_finishing_settles_delivers_and_writes_one_usage_line(desk: Desk) -> None:
    generation = desk.queue(images=2)
    claimed = claim(desk, generation)
    with desk.database.transaction() as session:
        assert lifecycle.finish(session, claimed, pictures(2))
    with desk.database.transaction() as session:
        assert not lifecycle.finish(session, claimed, pictures(2))
        lines = session.scalars(select(UsageLine)).all()
    assert [(line.images, line.amount_micros) for line in lines] == [(2, 2 * PRICE_MICROS)]
    row = desk.read(generation.id)
    assert (row.state, row.charged_micros) == ("finished", 2 * PRICE_MICROS)
    assert [picture.index for picture in row.pictures] == [0, 1]
    assert desk.balance().settled_micros == TOP_UP_MICROS - 2 * PRICE_MICROS
    assert desk.balance().held_micros == 0
    assert kinds(desk, generation) == ["queued", "started", "finished"]


def test_refused_pictures_of_a_set_are_not_charged(desk: Desk) -> None:
    generation = desk.queue(images=4)
    claimed = claim(desk, generation)
    with desk.database.transaction() as session:
        assert lifecycle.finish(session, claimed, pictures(4, refused=(1, 3)))
    assert desk.balance().settled_micros == TOP_UP_MICROS - 2 * PRICE_MICROS
    assert desk.balance().held_micros == 0
    refused = desk.read(generation.id).pictures[1]
    with desk.database.read() as session, pytest.raises(NotFound):
        generations.access_picture(session, desk.member, refused.id)


@pytest.mark.parametrize("state", ["failed", "refused", "cancelled"])
def test_what_is_not_delivered_costs_nothing(desk: Desk, state: str) -> None:
    claimed = claim(desk, desk.queue())
    end: dict[str, Callable[[Session], bool]] = {
        "failed": lambda s: lifecycle.fail(s, claimed, code="x", message="It broke."),
        "refused": lambda s: lifecycle.refuse(s, claimed, code="x", message="No."),
        "cancelled": lambda s: lifecycle.cancel(s, claimed),
    }
    for expected in (True, False):
        with desk.database.transaction() as session:
            assert end[state](session) is expected
    assert desk.read(claimed.id).state == state
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert kinds(desk, claimed)[-1] == state


def test_a_waiting_job_is_cancelled_at_once_and_never_claimed(desk: Desk) -> None:
    generation = desk.queue()
    with desk.database.transaction() as session:
        cancelled = lifecycle.request_cancel(session, desk.member, generation.id)
    assert cancelled.state == "cancelled"
    assert desk.balance().held_micros == 0
    with desk.database.transaction() as session:
        assert lifecycle.claim(session, generation.id, "w1") is None
        again = lifecycle.request_cancel(session, desk.member, generation.id)
    assert again.state == "cancelled"


def test_a_cancel_that_comes_before_delivery_is_free_of_charge(desk: Desk) -> None:
    claimed = claim(desk, desk.queue())
    with desk.database.transaction() as session:
        assert lifecycle.heartbeat(session, claimed) == "go"
        assert lifecycle.request_cancel(session, desk.member, claimed.id).state == "running"
        assert lifecycle.heartbeat(session, claimed) == "cancel"
    with desk.database.transaction() as session:
        assert not lifecycle.finish(session, claimed, pictures(1))
        assert lifecycle.cancel(session, claimed)
    assert desk.balance().available_micros == TOP_UP_MICROS


def test_losing_the_seat_stops_everything_in_flight(desk: Desk) -> None:
    running, waiting = claim(desk, desk.queue()), desk.queue()
    with desk.database.transaction() as session:
        assert lifecycle.cancel_all(session, desk.member.id) == 2
    assert desk.read(waiting.id).state == "cancelled"
    with desk.database.transaction() as session:
        assert lifecycle.heartbeat(session, running) == "cancel"


def test_a_late_worker_can_end_nothing(desk: Desk) -> None:
    late = claim(desk, desk.queue(), "w1")
    with desk.database.transaction() as session:
        assert repairs.lose(session, late.id, true()) == "queued"
    again = claim(desk, late, "w1")  # even under the same name
    for session_of in (lifecycle.heartbeat, lifecycle.cancel):
        with desk.database.transaction() as session:
            assert session_of(session, late) in {"lost", False}
    with desk.database.transaction() as session:
        assert not lifecycle.finish(session, late, pictures(1))
        assert not lifecycle.fail(session, late, code="x", message="x")
    assert desk.balance().held_micros == PRICE_MICROS
    with desk.database.transaction() as session:
        assert lifecycle.finish(session, again, pictures(1))
    assert desk.balance().settled_micros == TOP_UP_MICROS - PRICE_MICROS


def test_nothing_is_delivered_without_a_hold(desk: Desk) -> None:
    claimed = claim(desk, desk.queue())
    with desk.database.transaction() as session:
        ledger.expire_holds(session, now() + timedelta(days=3))
    with pytest.raises(lifecycle.HoldLost), desk.database.transaction() as session:
        lifecycle.finish(session, claimed, pictures(1))
    assert desk.read(claimed.id).state == "running"


def test_strangers_see_nothing(desk: Desk) -> None:
    claimed = claim(desk, desk.queue())
    made = pictures(1)
    with desk.database.transaction() as session:
        lifecycle.finish(session, claimed, made)
    stranger = desk.team.admin
    with desk.database.read() as session:
        own = generations.access_picture(session, desk.member, made[0].id)
        assert own.key == "k0"
        for read in (
            lambda: generations.access(session, stranger, claimed.id),
            lambda: generations.access_picture(session, stranger, made[0].id),
            lambda: generations.access_picture(session, desk.member, uuid.uuid4()),
            lambda: lifecycle.request_cancel(session, stranger, claimed.id),
        ):
            with pytest.raises(NotFound):
                read()
        assert history.page(session, stranger) == []


def test_the_gallery_pages_newest_first(desk: Desk) -> None:
    made = []
    for _ in range(3):
        claimed = claim(desk, desk.queue())
        with desk.database.transaction() as session:
            lifecycle.finish(session, claimed, pictures(1))
        made.append(claimed.id)
    desk.queue()
    with desk.database.read() as session:
        first = history.page(session, desk.member, limit=2)
        second = history.page(session, desk.member, before=first[-1].id, limit=2)
        assert [row.id for row in (*first, *second)] == made[::-1]
        assert len(first[0].pictures) == 1
        assert history.page(session, desk.member, before=uuid.uuid4()) == []


def test_hammering_one_row_moves_its_money_once(desk: Desk) -> None:
    claimed = claim(desk, desk.queue())

    def one(number: int) -> bool:
        with desk.database.transaction() as session:
            ways: list[Callable[[], object]] = [
                lambda: lifecycle.finish(session, claimed, pictures(1)),
                lambda: lifecycle.cancel(session, claimed),
                lambda: lifecycle.fail(session, claimed, code="x", message="x"),
                lambda: repairs.expire(session, claimed.id, code="x", message="x"),
            ]
            return bool(ways[number % 4]())

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(24))) == 1
    assert desk.balance().held_micros == 0
    charged = desk.read(claimed.id).charged_micros
    assert desk.balance().settled_micros == TOP_UP_MICROS - charged


def _outcome(call: Callable[[], object]) -> type:
    try:
        return type(call())
    except TooManyInFlight as refused:
        return type(refused)
