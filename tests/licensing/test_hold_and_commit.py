"""A hold that ends its transaction: both are committed, or neither is."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from factories import Team, team
from racing import race
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from licensing import ledger
from licensing.audit import audit
from licensing.db import Database
from licensing.errors import Conflict
from licensing.ledger import Balance, Hold, InsufficientBalance, WalletFrozen

PRICE_MICROS = 15_000
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
XMIN = text("CAST(CAST(hold.xmin AS text) AS bigint)")  # given when a transaction first writes


def hold(session: Session, people: Team, generation_id: uuid.UUID | None = None) -> None:
    ledger.hold_and_commit(
        session,
        organisation_id=people.id,
        member_id=people.creator.id,
        generation_id=generation_id or uuid.uuid4(),
        amount_micros=PRICE_MICROS,
        price_version="2026-11",
    )


def balance(database: Database, people: Team) -> Balance:
    with database.read() as session:
        assert audit(session) == []
        return ledger.balance(session, people.id)


def give(session: Session, people: Team, amount_micros: int = 10_000) -> None:
    """Write something beside the hold: a gift."""
    ledger.grant(
        session, people.id, amount_micros, key="beside", author_id=None, note="", expires_at=None
    )


def test_what_was_written_before_it_is_committed_with_it(database: Database) -> None:
    people = team(database, balance_micros=20_000)
    with database.transaction() as session:
        give(session, people)
        hold(session, people)
        # Seen from outside while the block is still open: the message has brought the COMMIT.
        with psycopg.connect(database.url) as other:
            row = other.execute("SELECT settled_micros, held_micros FROM account").fetchall()
    assert (30_000, PRICE_MICROS) in row
    assert balance(database, people) == Balance(30_000, PRICE_MICROS)


def test_a_refusal_takes_back_what_was_written_before_it(database: Database) -> None:
    people = team(database, balance_micros=4_000)

    def give_and_hold() -> None:
        with database.transaction() as session:
            give(session, people, 1_000)
            hold(session, people)

    with pytest.raises(InsufficientBalance) as refused:
        give_and_hold()
    assert refused.value.available_micros == 4_000  # as it is, not as the gift would have made it
    assert balance(database, people) == Balance(4_000, 0)


def test_a_frozen_wallet_and_a_second_hold_are_refused_as_such(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    generation_id = uuid.uuid4()
    with database.transaction() as session:
        hold(session, people, generation_id)
    with pytest.raises(Conflict), database.transaction() as session:
        hold(session, people, generation_id)
    with database.transaction() as session:
        ledger.freeze(session, people.id, "we look into something", author_id=None)
    with pytest.raises(WalletFrozen, match="look into"), database.transaction() as session:
        hold(session, people)
    assert balance(database, people).held_micros == PRICE_MICROS


def test_nothing_may_follow_it(database: Database) -> None:
    people = team(database, balance_micros=100_000)

    def hold_and_give() -> None:
        with database.transaction() as session:
            hold(session, people)
            give(session, people)

    with pytest.raises(RuntimeError, match="follows"):
        hold_and_give()
    assert balance(database, people) == Balance(100_000, PRICE_MICROS)


def test_of_thirty_at_once_as_many_are_taken_as_the_wallet_has(database: Database) -> None:
    people = team(database, balance_micros=10 * PRICE_MICROS)

    def ask() -> bool:
        try:
            with database.transaction() as session:
                hold(session, people)
        except InsufficientBalance:
            return False
        return True

    assert race([ask] * 30).count(True) == 10
    assert balance(database, people) == Balance(10 * PRICE_MICROS, 10 * PRICE_MICROS)


def test_who_came_first_holds_first(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    asked = [uuid.uuid4() for _ in range(4)]
    pause = threading.Event()

    def ask(generation_id: uuid.UUID) -> None:
        with database.transaction() as session:
            hold(session, people, generation_id)

    with (
        psycopg.connect(database.url) as first,
        psycopg.connect(database.url, autocommit=True) as watch,
        ThreadPoolExecutor(len(asked)) as clients,
    ):
        first.execute("SELECT FROM account WHERE kind = 'wallet' FOR UPDATE")
        for place, generation_id in enumerate(asked):
            clients.submit(ask, generation_id)
            # One waits for the row; the others stand in the queue behind it, in their order.
            while watch.execute(WAITING).fetchone() != (place + 1,):
                pause.wait(0.005)
        first.rollback()
    with database.read() as session:
        order = session.scalars(select(Hold.generation_id).order_by(XMIN)).all()
    assert list(order) == asked
