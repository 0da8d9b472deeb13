"""Money is held, charged, returned and topped up; the books balance after every story."""

import uuid
from datetime import timedelta

import pytest
from factories import Team, team
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from licensing import ledger, usage
from licensing.audit import audit
from licensing.db import Database, now
from licensing.errors import Conflict
from licensing.ledger import Balance, Hold, InsufficientBalance
from licensing.money import AMOUNT_MICROS_MAX, InvalidAmount


def hold(session: Session, people: Team, amount_micros: int, **wishes: timedelta) -> Hold:
    return ledger.hold(
        session,
        organisation_id=people.id,
        member_id=people.creator.id,
        generation_id=uuid.uuid4(),
        amount_micros=amount_micros,
        price_version="2026-11",
        **wishes,
    )


def charge(session: Session, held: Hold, amount_micros: int) -> bool:
    """Settle and write the usage line, as a worker does in one transaction."""
    if not ledger.settle(session, held.generation_id, amount_micros):
        return False
    usage.record(
        session,
        generation_id=held.generation_id,
        organisation_id=held.organisation_id,
        member_id=held.member_id,
        model="pocket-turbo",
        images=1,
        width=128,
        height=128,
        amount_micros=amount_micros,
        price_version=held.price_version,
        at=now(),
    )
    return True


def balance(database: Database, people: Team) -> Balance:
    with database.read() as session:
        assert audit(session) == []
        return ledger.balance(session, people.id)


def test_a_hold_is_charged_for_less_and_the_rest_is_free_again(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        held = hold(session, people, 60_000)
    assert balance(database, people) == Balance(settled_micros=100_000, held_micros=60_000)
    assert balance(database, people).available_micros == 40_000
    with database.transaction() as session:
        assert charge(session, held, 45_000)
    assert balance(database, people) == Balance(settled_micros=55_000, held_micros=0)


def test_a_released_hold_costs_nothing(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        held = hold(session, people, 60_000)
    with database.transaction() as session:
        assert ledger.release(session, held.generation_id, "cancelled")
    assert balance(database, people) == Balance(100_000, 0)
    with database.read() as session:
        found = ledger.get_hold(session, held.generation_id)
        assert found is not None
        assert (found.state, found.reason) == ("released", "cancelled")


def test_a_hold_is_resolved_at_most_once(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        held = hold(session, people, 60_000)
    with database.transaction() as session:
        assert charge(session, held, 60_000)
        assert not ledger.settle(session, held.generation_id, 60_000)
        assert not ledger.release(session, held.generation_id, "late")
        assert ledger.expire_holds(session, now() + timedelta(days=9)) == []
    assert balance(database, people) == Balance(40_000, 0)


def test_a_charge_of_nothing_moves_nothing(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        assert charge(session, hold(session, people, 60_000), 0)
    assert balance(database, people) == Balance(100_000, 0)
    with database.read() as session:
        assert [entry.kind for entry in ledger.transfers(session, people.id, limit=9)] == ["top_up"]


def test_more_than_was_held_cannot_be_charged(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        held = hold(session, people, 30_000)
        with pytest.raises(ValueError, match="cannot settle 30001"):
            ledger.settle(session, held.generation_id, 30_001)
        with pytest.raises(ValueError, match="cannot settle -1"):
            ledger.settle(session, held.generation_id, -1)
    assert balance(database, people) == Balance(100_000, 30_000)


def test_unknown_generations_resolve_nothing(database: Database) -> None:
    with database.transaction() as session:
        assert not ledger.settle(session, uuid.uuid4(), 1)
        assert not ledger.release(session, uuid.uuid4(), "nothing")


def test_the_refusal_names_the_missing_amount_and_who_can_pay(database: Database) -> None:
    people = team(database, balance_micros=15_000)
    with database.transaction() as session, pytest.raises(InsufficientBalance) as refusal:
        hold(session, people, 60_000)
    assert refusal.value.missing_micros == 45_000
    assert refusal.value.available_micros == 15_000
    assert "$0.045 is missing" in refusal.value.message
    assert "Fay Finance or Olga Owner can top up" in refusal.value.message
    assert balance(database, people) == Balance(15_000, 0)


def test_the_last_micro_can_be_held_and_not_one_more(database: Database) -> None:
    people = team(database, balance_micros=15_000)
    with database.transaction() as session:
        hold(session, people, 15_000)
    with database.transaction() as session, pytest.raises(InsufficientBalance):
        hold(session, people, 1)


def test_who_never_topped_up_has_nothing(database: Database) -> None:
    people = team(database, balance_micros=0)
    assert balance(database, people) == Balance(0, 0)
    with database.transaction() as session, pytest.raises(InsufficientBalance):
        hold(session, people, 1)


def test_one_generation_has_one_hold(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        held = hold(session, people, 10_000)
    with pytest.raises(Conflict), database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=people.id,
            member_id=people.creator.id,
            generation_id=held.generation_id,
            amount_micros=10_000,
            price_version="2026-11",
        )
    assert balance(database, people) == Balance(100_000, 10_000)


def test_money_is_never_held_for_another_organisations_member(database: Database) -> None:
    people, strangers = team(database), team(database)
    with pytest.raises(IntegrityError), database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=people.id,
            member_id=strangers.creator.id,
            generation_id=uuid.uuid4(),
            amount_micros=1,
            price_version="2026-11",
        )
    with database.read() as session:
        assert ledger.balance(session, people.id).held_micros == 0


def test_expired_holds_free_their_money_once(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        stale = [hold(session, people, 20_000, lifetime=timedelta(seconds=-1)) for _ in range(2)]
        fresh = hold(session, people, 5_000)
    with database.transaction() as session:
        freed = ledger.expire_holds(session, now())
        assert sorted(freed) == sorted(held.generation_id for held in stale)
        assert ledger.expire_holds(session, now()) == []
    assert balance(database, people) == Balance(100_000, 5_000)
    with database.transaction() as session:
        assert not charge(session, stale[0], 20_000)
        assert charge(session, fresh, 5_000)
    assert balance(database, people) == Balance(95_000, 0)


def test_a_top_up_with_the_same_key_is_made_once(database: Database) -> None:
    people = team(database, balance_micros=0)
    for _ in range(2):
        with database.transaction() as session:
            entry = ledger.top_up(
                session, people.id, 25_000_000, key="evt_1", author_id=people.finance.id, note="x"
            )
    assert (entry.amount_micros, entry.author_id) == (25_000_000, people.finance.id)
    assert balance(database, people) == Balance(25_000_000, 0)
    with pytest.raises(Conflict), database.transaction() as session:
        ledger.top_up(session, people.id, 1, key="evt_1", author_id=None, note="")
    assert balance(database, people) == Balance(25_000_000, 0)


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MICROS_MAX + 1, 0.5, True])
def test_absurd_amounts_move_nothing(database: Database, amount: int) -> None:
    people = team(database)
    before = balance(database, people)
    with database.transaction() as session, pytest.raises(InvalidAmount):
        ledger.top_up(session, people.id, amount, key="k", author_id=None, note="")
    with database.transaction() as session, pytest.raises(InvalidAmount):
        hold(session, people, amount)
    assert balance(database, people) == before


def test_a_fault_after_the_charge_takes_all_of_it_back(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        held = hold(session, people, 60_000)

    def charge_and_fail() -> None:
        with database.transaction() as session:
            assert charge(session, held, 60_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        charge_and_fail()
    assert balance(database, people) == Balance(100_000, 60_000)


def test_transfers_are_listed_newest_first_and_paged(database: Database) -> None:
    people = team(database, balance_micros=100_000)
    other = team(database, balance_micros=1)
    with database.transaction() as session:
        charge(session, hold(session, people, 1_000), 1_000)
    with database.read() as session:
        newest, *_ = ledger.transfers(session, people.id, limit=1)
        older = ledger.transfers(session, people.id, limit=5, before_id=newest.id)
        assert [newest.kind, *(entry.kind for entry in older)] == ["settle", "top_up"]
        assert len(ledger.transfers(session, other.id, limit=5)) == 1


def test_the_database_refuses_a_wallet_below_its_holds(database: Database) -> None:
    people = team(database, balance_micros=1_000)
    statement = text("UPDATE account SET held_micros = 1001 WHERE kind = 'wallet'")
    with pytest.raises(IntegrityError, match="must be covered"), database.transaction() as s:
        s.execute(statement)
    assert balance(database, people) == Balance(1_000, 0)


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("UPDATE account SET settled_micros = settled_micros + 1 WHERE kind = 'wallet'", "settled"),
        ("UPDATE account SET held_micros = held_micros + 1 WHERE kind = 'wallet'", "open holds"),
        ("UPDATE hold SET settled_micros = 1 WHERE state = 'settled'", "but transfer"),
        ("UPDATE transfer SET amount_micros = amount_micros - 1 WHERE kind = 'settle'", "but"),
        ("UPDATE usage_line SET amount_micros = 1", "usage line of 1 micros"),
        ("DELETE FROM usage_line", "usage line of 0 micros"),
        ("UPDATE transfer SET source_id = destination_id, destination_id = source_id", "belong so"),
    ],
)
def test_the_audit_names_what_was_tampered_with(
    database: Database, tampering: str, finding: str
) -> None:
    people = team(database, balance_micros=100_000)
    with database.transaction() as session:
        hold(session, people, 10_000)
        charge(session, hold(session, people, 10_000), 10_000)
    assert balance(database, people) == Balance(90_000, 10_000)
    with database.transaction() as session:
        # What only the owner of the database can do: switch the triggers off.
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text(tampering))
    with database.read() as session:
        differences = audit(session)
    assert any(finding in difference for difference in differences), differences
