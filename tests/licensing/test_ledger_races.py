"""Many at once: the wallet pays for what it holds and no more, each hold is resolved once."""

import itertools
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from factories import Team, team
from racing import race
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from licensing import ledger, usage
from licensing.audit import audit
from licensing.db import Database, now
from licensing.ledger import Balance, InsufficientBalance

PRICE_MICROS = 15_000


def try_hold(database: Database, people: Team, lifetime: timedelta) -> uuid.UUID | None:
    generation_id = uuid.uuid4()
    try:
        with database.transaction() as session:
            ledger.hold(
                session,
                organisation_id=people.id,
                member_id=people.creator.id,
                generation_id=generation_id,
                amount_micros=PRICE_MICROS,
                price_version="2026-11",
                lifetime=lifetime,
            )
    except InsufficientBalance:
        return None
    return generation_id


class Late(Exception):  # noqa: N818 - says what happened
    """Somebody else resolved the hold."""


def settle(database: Database, people: Team, generation_id: uuid.UUID) -> str | None:
    """Write the line, then settle, as a worker does: the wallet comes last."""
    try:
        with database.transaction() as session:
            usage.record(
                session,
                generation_id=generation_id,
                organisation_id=people.id,
                member_id=people.creator.id,
                model="pocket-turbo",
                images=1,
                width=128,
                height=128,
                amount_micros=PRICE_MICROS,
                price_version="2026-11",
                at=now(),
            )
            _settle_or_undo(session, generation_id)
    except (Late, IntegrityError):  # the line of who was first is there already
        return None
    return "settled"


def _settle_or_undo(session: Session, generation_id: uuid.UUID) -> None:
    if not ledger.settle(session, generation_id, PRICE_MICROS):
        raise Late


def release(database: Database, generation_id: uuid.UUID) -> str | None:
    with database.transaction() as session:
        return "released" if ledger.release(session, generation_id, "cancelled") else None


def sweep(database: Database) -> list[uuid.UUID]:
    with database.transaction() as session:
        return ledger.expire_holds(session, now())


def test_a_wallet_worth_twenty_pictures_admits_twenty_of_a_hundred(database: Database) -> None:
    people = team(database, balance_micros=20 * PRICE_MICROS)
    lifetime = timedelta(hours=1)
    held = race([lambda: try_hold(database, people, lifetime)] * 100)
    admitted = [generation_id for generation_id in held if generation_id is not None]
    assert len(admitted) == 20
    with database.read() as session:
        assert ledger.balance(session, people.id) == Balance(20 * PRICE_MICROS, 20 * PRICE_MICROS)
        assert audit(session) == []


def test_worker_cancellation_and_sweep_resolve_each_hold_once(database: Database) -> None:
    people = team(database, balance_micros=30 * PRICE_MICROS)
    past = timedelta(seconds=-1)
    held = [try_hold(database, people, past) for _ in range(30)]
    generation_ids = [generation_id for generation_id in held if generation_id is not None]
    assert len(generation_ids) == 30

    jobs: list[Callable[[], object]] = []
    for generation_id in generation_ids:
        jobs.append(partial(settle, database, people, generation_id))
        jobs.append(partial(release, database, generation_id))
        jobs.append(partial(settle, database, people, generation_id))
        if len(jobs) % 5 == 0:
            jobs.append(partial(sweep, database))
    outcomes = race(jobs)

    settled = outcomes.count("settled")
    released = outcomes.count("released")
    expired = sum(len(outcome) for outcome in outcomes if isinstance(outcome, list))
    assert settled + released + expired == 30
    with database.read() as session:
        left = (30 - settled) * PRICE_MICROS
        assert ledger.balance(session, people.id) == Balance(left, 0)
        assert audit(session) == []


def test_sweeps_of_many_wallets_at_once_free_each_hold_once(database: Database) -> None:
    teams = [team(database, balance_micros=10 * PRICE_MICROS) for _ in range(4)]
    past = timedelta(seconds=-1)
    for people in teams * 10:
        assert try_hold(database, people, past) is not None
    jobs: list[Callable[[], object]] = [lambda: sweep(database)] * 6
    jobs += [partial(try_hold, database, people, timedelta(hours=1)) for people in teams]
    outcomes = race(jobs)
    freed = [one for outcome in outcomes if isinstance(outcome, list) for one in outcome]
    freed += sweep(database)  # a sweep leaves to the next one what another had locked
    assert len(freed) == len(set(freed)) == 40
    with database.read() as session:
        assert audit(session) == []


def test_one_top_up_delivered_many_times_at_once_is_made_once(database: Database) -> None:
    people = team(database, balance_micros=0)

    def deliver() -> int:
        with database.transaction() as session:
            entry = ledger.top_up(
                session, people.id, 10_000_000, key="evt_9", author_id=None, note=""
            )
            return entry.id

    assert len(set(race([deliver] * 24))) == 1
    with database.read() as session:
        assert ledger.balance(session, people.id) == Balance(10_000_000, 0)
        assert audit(session) == []


def test_charges_at_once_share_small_lots_to_the_micro(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        for number in range(24):  # each covers two thirds of a picture
            ledger.top_up(
                session, people.id, 10_000, key=f"small-{number}", author_id=None, note=""
            )
    held = [try_hold(database, people, timedelta(hours=1)) for _ in range(16)]
    jobs = [partial(settle, database, people, one) for one in held if one is not None]
    assert race(jobs) == ["settled"] * 16
    with database.read() as session:
        assert ledger.balance(session, people.id) == Balance(0, 0)
        assert [lot.remaining_micros for lot in ledger.lots(session, people.id, limit=99)] == [
            0
        ] * 24
        assert audit(session) == []


def test_money_in_and_out_at_once_keeps_lots_and_debt_apart(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        ledger.set_credit_limit(
            session, people.id, 20 * PRICE_MICROS, author_id=None, reason="contract"
        )
    held = [try_hold(database, people, timedelta(hours=1)) for _ in range(20)]
    generation_ids = [one for one in held if one is not None]
    assert len(generation_ids) == 20

    def bring(number: int) -> None:
        with database.transaction() as session:
            verb = ledger.grant if number % 2 else ledger.top_up
            verb(
                session,
                people.id,
                20_000,
                key=str(number),
                author_id=None,
                note="",
                expires_at=now() - timedelta(seconds=1) if number % 4 == 1 else None,
            )

    def give_back(generation_id: uuid.UUID) -> None:
        with database.transaction() as session:
            if ledger.spends_of(session, generation_id):
                ledger.refund_generation(
                    session,
                    generation_id,
                    5_000,
                    key=str(generation_id),
                    author_id=None,
                    reason="x",
                )

    def run_out() -> int:
        with database.transaction() as session:
            return sum(entry.amount_micros for entry in ledger.expire_lots(session, now()))

    jobs: list[Callable[[], object]] = []
    for number, generation_id in enumerate(generation_ids):
        jobs.append(partial(settle, database, people, generation_id))
        jobs.append(partial(bring, number))
        jobs.append(partial(give_back, generation_ids[number // 2]))
        if number % 5 == 0:
            jobs.append(run_out)
    race(jobs)
    with database.read() as session:
        assert ledger.balance(session, people.id).held_micros == 0
        assert audit(session) == []


def test_a_gift_and_its_refund_asked_for_at_once_happen_once(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        ledger.top_up(session, people.id, 100, key="pi", author_id=None, note="")

    def refund() -> int:
        with database.transaction() as session:
            return ledger.refund_top_up(
                session, people.id, 100, top_up_key="pi", key="re", author_id=None, note=""
            ).id

    def freeze() -> int:
        with database.transaction() as session:
            return int(ledger.freeze(session, people.id, "dispute", author_id=None))

    assert len(set(race([refund] * 12))) == 1
    assert sum(race([freeze] * 12)) == 1
    with database.read() as session:
        assert ledger.balance(session, people.id) == Balance(0, 0, 0, "dispute")
        assert audit(session) == []


def test_a_sweep_and_whoever_books_for_several_lock_wallets_in_one_order(
    database: Database,
) -> None:
    first, second = _crosswise(database)
    for people in (first, second):
        assert try_hold(database, people, timedelta(0)) is not None

    def expire() -> int:
        with database.transaction() as session:
            return len(ledger.expire_holds(session, now() + timedelta(seconds=1)))

    with ThreadPoolExecutor(1) as other:
        with database.transaction() as session:
            _give(session, first)
            sweeping = other.submit(expire)
            _until_it_waits(database, sweeping)
            _give(session, second)
        assert sweeping.result() == 2


def _crosswise(database: Database) -> tuple[Team, Team]:
    """Two organisations in the order of their ids, whose wallets' ids stand the other way."""
    made: list[tuple[uuid.UUID, Team]] = []
    while True:
        people = team(database, balance_micros=PRICE_MICROS)
        wallet = select(ledger.Account.id).where(
            ledger.Account.organisation_id == people.id, ledger.Account.kind == "wallet"
        )
        with database.read() as session:
            made.append((session.scalars(wallet).one(), people))
        for (one_id, one), (other_id, other) in itertools.combinations(made, 2):
            if (one.id < other.id) != (one_id < other_id):
                return (one, other) if one.id < other.id else (other, one)


def _give(session: Session, people: Team) -> None:
    ledger.grant(
        session, people.id, 1, key="a gift", author_id=None, note="a gift", expires_at=None
    )


def _until_it_waits(database: Database, work: Future[int]) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted")
    for _ in range(2_000):
        with database.engine.connect() as connection:
            if connection.scalar(waiting):
                return
        assert not work.done(), "it had to wait for the wallet"
        threading.Event().wait(0.005)
    pytest.fail("it never waits")
