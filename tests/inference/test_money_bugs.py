"""The ten money faults that other studios had in public this year, each as a test of this one.

Each enters where the product does: the queueing of a job, the worker's verbs, the sweep.
"""

import uuid
from datetime import timedelta
from functools import partial

import pytest
from jobs import Desk
from racing import race
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from test_lifecycle import claim, pictures

from inference import lifecycle
from inference.generations import Generation
from inference.sweep import RESEND_AFTER, STALE_AFTER, sweep
from licensing import ledger
from licensing.audit import audit
from licensing.db import now
from licensing.errors import Conflict
from licensing.ledger import Balance, InsufficientBalance, Transfer
from licensing.usage import UsageLine

PRICE_MICROS = 15_000
LATER = STALE_AFTER + timedelta(seconds=5)


def silent(*_: object) -> None:
    """Stands for a broker that takes every message and delivers none."""


def leave(desk: Desk, amount_micros: int) -> None:
    """Take out of the wallet what is more than `amount_micros`."""
    with desk.database.transaction() as session:
        too_much = ledger.balance(session, desk.team.id).available_micros - amount_micros
        ledger.adjust(
            session, desk.team.id, -too_much, key="leave", author_id=None, reason="for a test"
        )


def finish(desk: Desk, claimed: Generation) -> bool:
    with desk.database.transaction() as session:
        return lifecycle.finish(session, claimed, pictures(1))


def assert_charged_once(desk: Desk, before: Balance) -> None:
    with desk.database.read() as session:
        charges = session.scalars(select(Transfer).where(Transfer.kind == "settle")).all()
        assert [entry.amount_micros for entry in charges] == [PRICE_MICROS]
        assert session.scalar(select(func.count()).select_from(UsageLine)) == 1
        assert audit(session) == []
    assert desk.balance() == Balance(before.settled_micros - PRICE_MICROS, 0)


def assert_nothing_charged(desk: Desk, before: Balance) -> None:
    with desk.database.read() as session:
        assert session.scalars(select(Transfer).where(Transfer.kind == "settle")).all() == []
        assert audit(session) == []
    assert desk.balance() == before


def test_parallel_requests_do_not_all_pass_one_check(desk: Desk) -> None:
    leave(desk, PRICE_MICROS)

    def ask() -> bool:
        try:
            desk.queue()
        except InsufficientBalance:
            return False
        return True

    assert sum(race([ask] * 24)) == 1
    assert desk.balance() == Balance(PRICE_MICROS, PRICE_MICROS)


def test_a_fault_after_the_settlement_gives_no_earned_charge_back(desk: Desk) -> None:
    before = desk.balance()
    claimed = claim(desk, desk.queue())
    assert finish(desk, claimed)
    # What a handler of that fault would do, and everybody else who could still come.
    with desk.database.transaction() as session:
        assert not lifecycle.fail(session, claimed, code="late", message="a write failed")
        assert not lifecycle.cancel(session, claimed)
        assert not ledger.release(session, claimed.id, "late")
    sweep(desk.database, silent, now() + timedelta(days=9))
    assert_charged_once(desk, before)


def test_a_fault_before_the_commit_takes_back_all_of_the_settlement(desk: Desk) -> None:
    before = desk.balance()
    claimed = claim(desk, desk.queue())

    def finish_and_fail() -> None:
        with desk.database.transaction() as session:
            assert lifecycle.finish(session, claimed, pictures(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        finish_and_fail()
    assert desk.balance() == Balance(before.settled_micros, PRICE_MICROS)
    assert finish(desk, claimed)
    assert_charged_once(desk, before)


def test_a_death_between_hold_and_settlement_leaves_no_hold_for_ever(desk: Desk) -> None:
    before = desk.balance()
    waiting, running = desk.queue(), desk.queue()
    claim(desk, running)
    sweep(desk.database, silent, now() + timedelta(days=9))
    assert {desk.read(job.id).state for job in (waiting, running)} <= {"failed", "queued"}
    sweep(desk.database, silent, now() + timedelta(days=9))
    assert {desk.read(job.id).state for job in (waiting, running)} == {"failed"}
    assert_nothing_charged(desk, before)


def test_a_sweep_and_a_late_settlement_move_the_money_once(desk: Desk) -> None:
    before = desk.balance()
    claimed = [claim(desk, desk.queue()) for _ in range(6)]

    def settle(job: Generation) -> str:
        try:
            return "settled" if finish(desk, job) else "late"
        except lifecycle.HoldLost:
            return "late"

    def expire() -> str:
        with desk.database.transaction() as session:
            ledger.expire_holds(session, now() + timedelta(days=9))
        return "swept"

    outcomes = race([job for one in claimed for job in (partial(settle, one), expire)])
    sweep(desk.database, silent, now() + timedelta(days=9))
    charged = outcomes.count("settled") * PRICE_MICROS
    assert desk.balance() == Balance(before.settled_micros - charged, 0)
    with desk.database.read() as session:
        assert audit(session) == []


def test_state_charge_line_and_counters_are_one_transaction(desk: Desk) -> None:
    before = desk.balance()
    claimed = claim(desk, desk.queue())
    with Session(desk.database.engine) as dying, dying.begin():
        assert lifecycle.finish(dying, claimed, pictures(1))
        dying.rollback()
    assert desk.read(claimed.id).state == "running"
    assert desk.balance() == Balance(before.settled_micros, PRICE_MICROS)
    with desk.database.read() as session:
        assert session.scalar(select(func.count()).select_from(UsageLine)) == 0
        assert audit(session) == []


def test_a_failed_settlement_never_leaves_two_holds_for_one_job(desk: Desk) -> None:
    before = desk.balance()
    job = claim(desk, desk.queue())
    with desk.database.transaction() as session, pytest.raises(ValueError, match="cannot settle"):
        ledger.settle(session, job.id, PRICE_MICROS + 1)
    with pytest.raises(Conflict), desk.database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=job.organisation_id,
            member_id=job.member_id,
            generation_id=job.id,
            amount_micros=PRICE_MICROS,
            price_version=job.price_version,
        )
    assert desk.balance() == Balance(before.settled_micros, PRICE_MICROS)
    assert finish(desk, job)
    assert_charged_once(desk, before)


@pytest.mark.parametrize("amount_micros", [1, 40_000, 3_000_000_000, 10**12])
def test_debits_of_any_width_run_as_production_sends_them(desk: Desk, amount_micros: int) -> None:
    """A driver chooses the parameter's type by its size; a sign before it must not matter."""
    before = desk.balance()
    with desk.database.transaction() as session:
        ledger.top_up(session, desk.team.id, amount_micros, key="pi_1", author_id=None, note="wide")
        ledger.refund_top_up(
            session,
            desk.team.id,
            amount_micros,
            top_up_key="pi_1",
            key="re_1",
            author_id=None,
            note="",
        )
        ledger.adjust(session, desk.team.id, amount_micros, key="up", author_id=None, reason="test")
        ledger.adjust(
            session, desk.team.id, -amount_micros, key="down", author_id=None, reason="test"
        )
    assert_nothing_charged(desk, before)


def test_a_job_that_was_never_rung_for_is_charged_only_when_it_is_delivered(desk: Desk) -> None:
    before = desk.balance()
    job = desk.queue()  # the process dies here: committed, and nobody was told
    assert desk.balance() == Balance(before.settled_micros, PRICE_MICROS)
    rung: list[uuid.UUID] = []
    at = now() + RESEND_AFTER + timedelta(seconds=1)
    sweep(desk.database, lambda generation_id, _: rung.append(generation_id), at)
    assert rung == [job.id]
    assert finish(desk, claim(desk, job))
    assert_charged_once(desk, before)


def test_an_attempt_begun_twice_is_paid_once(desk: Desk) -> None:
    before = desk.balance()
    job = desk.queue()
    first = claim(desk, job, "w1")
    with desk.database.transaction() as session:
        assert lifecycle.claim(session, job.id, "w2") is None  # the message came twice
    sweep(desk.database, silent, now() + LATER)
    second = claim(desk, job, "w2")
    assert [finish(desk, attempt) for attempt in (first, second, second)] == [False, True, False]
    assert_charged_once(desk, before)


def test_what_runs_is_shown_apart_so_that_a_failure_never_looks_charged(desk: Desk) -> None:
    before = desk.balance()
    claimed = claim(desk, desk.queue())
    running = desk.balance()
    assert running.settled_micros == before.settled_micros
    assert running.held_micros == PRICE_MICROS
    assert running.available_micros == before.available_micros - PRICE_MICROS
    with desk.database.transaction() as session:
        assert lifecycle.fail(session, claimed, code="broke", message="It broke.")
    assert_nothing_charged(desk, before)
