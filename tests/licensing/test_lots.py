"""Which money pays first, what runs out, what goes back where, and how far below zero."""

import uuid
from datetime import datetime, timedelta
from importlib import import_module

import pytest
from factories import Team, team
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from licensing import ledger, usage
from licensing.audit import audit
from licensing.db import Database, now
from licensing.errors import Conflict, NotFound
from licensing.ledger import Balance, InsufficientBalance, InvalidEntry, WalletFrozen
from licensing.money import AMOUNT_MICROS_MAX, InvalidAmount

TOMORROW = timedelta(days=1)


def charge(session: Session, people: Team, amount_micros: int) -> uuid.UUID:
    """Hold, settle and write the usage line, as submit and worker do."""
    generation_id = hold(session, people, amount_micros)
    assert ledger.settle(session, generation_id, amount_micros)
    write_line(session, people, generation_id, amount_micros)
    return generation_id


def hold(session: Session, people: Team, amount_micros: int) -> uuid.UUID:
    generation_id = uuid.uuid4()
    ledger.hold(
        session,
        organisation_id=people.id,
        member_id=people.creator.id,
        generation_id=generation_id,
        amount_micros=amount_micros,
        price_version="2026-11",
    )
    return generation_id


def write_line(
    session: Session, people: Team, generation_id: uuid.UUID, amount_micros: int
) -> None:
    usage.record(
        session,
        generation_id=generation_id,
        organisation_id=people.id,
        member_id=people.creator.id,
        model="pocket-turbo",
        images=1,
        width=128,
        height=128,
        amount_micros=amount_micros,
        price_version="2026-11",
        at=now(),
    )


def top_up(
    session: Session, people: Team, amount_micros: int, key: str, expires_at: datetime | None = None
) -> None:
    ledger.top_up(
        session,
        people.id,
        amount_micros,
        key=key,
        author_id=None,
        note="",
        expires_at=expires_at,
    )


def grant(
    session: Session, people: Team, amount_micros: int, key: str, expires_at: datetime | None = None
) -> None:
    ledger.grant(
        session,
        people.id,
        amount_micros,
        key=key,
        author_id=None,
        note="welcome",
        expires_at=expires_at,
    )


def remaining(database: Database, people: Team) -> dict[str, int]:
    """What is left of each lot, by the key it came with, after the books were found right."""
    with database.read() as session:
        assert audit(session) == []
        keys = {entry.id: entry.key for entry in ledger.transfers(session, people.id, limit=99)}
        return {
            keys[lot.transfer_id or 0].partition(":")[2]: lot.remaining_micros
            for lot in ledger.lots(session, people.id, limit=99)
        }


def payers(database: Database, generation_id: uuid.UUID) -> list[tuple[str | None, int]]:
    with database.read() as session:
        return [
            (spend.lot_key, spend.amount_micros)
            for spend in ledger.spends_of(session, generation_id)
        ]


def balance(database: Database, people: Team) -> Balance:
    with database.read() as session:
        return ledger.balance(session, people.id)


def test_gifts_pay_before_paid_money_and_what_runs_out_first_before_the_rest(
    database: Database,
) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        top_up(session, people, 100, "oldest")
        top_up(session, people, 100, "paid-ends", now() + TOMORROW)
        grant(session, people, 100, "gift")
        grant(session, people, 100, "gift-ends-later", now() + 2 * TOMORROW)
        grant(session, people, 100, "gift-ends", now() + TOMORROW)
    with database.transaction() as session:
        first = charge(session, people, 250)
        second = charge(session, people, 200)
    assert payers(database, first) == [
        ("grant:gift-ends", 100),
        ("grant:gift-ends-later", 100),
        ("grant:gift", 50),
    ]
    assert payers(database, second) == [
        ("grant:gift", 50),
        ("top_up:paid-ends", 100),
        ("top_up:oldest", 50),
    ]
    assert remaining(database, people)["oldest"] == 50


def test_lots_run_out_and_their_value_is_booked_as_breakage(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        grant(session, people, 100, "gift", now() + TOMORROW)
        top_up(session, people, 100, "paid")
        charge(session, people, 30)
    with database.transaction() as session:
        assert ledger.expire_lots(session, now()) == []
        ended = ledger.expire_lots(session, now() + 2 * TOMORROW)
        assert [(entry.kind, entry.amount_micros) for entry in ended] == [("expire", 70)]
        assert ledger.expire_lots(session, now() + 2 * TOMORROW) == []
    assert remaining(database, people) == {"gift": 0, "paid": 100}
    assert balance(database, people) == Balance(100, 0)


def test_what_open_holds_need_outlives_its_lot_until_they_are_resolved(database: Database) -> None:
    people = team(database, balance_micros=0)
    later = now() + 2 * TOMORROW
    with database.transaction() as session:
        grant(session, people, 100, "gift", now() + TOMORROW)
        done, dropped = hold(session, people, 40), hold(session, people, 40)
    with database.transaction() as session:
        assert [entry.amount_micros for entry in ledger.expire_lots(session, later)] == [20]
    assert balance(database, people) == Balance(80, 80)
    with database.transaction() as session:
        assert ledger.settle(session, done, 40)
        write_line(session, people, done, 40)
        assert ledger.release(session, dropped, "cancelled")
        assert [entry.amount_micros for entry in ledger.expire_lots(session, later)] == [40]
    assert payers(database, done) == [("grant:gift", 40)]
    assert balance(database, people) == Balance(0, 0)
    assert remaining(database, people) == {"gift": 0}


def test_a_wallet_that_needs_its_lot_keeps_no_other_from_its_turn(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("licensing.ledger.lots"), "WALLETS_AT_ONCE_MAX", 1)
    two = [team(database, balance_micros=0) for _ in range(2)]
    busy, idle = sorted(two, key=lambda one: one.id)
    later = now() + 2 * TOMORROW
    with database.transaction() as session:
        for people in (busy, idle):
            grant(session, people, 40, "gift", now() + TOMORROW)
        hold(session, busy, 40)
    with database.transaction() as session:
        assert [entry.organisation_id for entry in ledger.expire_lots(session, later)] == [idle.id]


def test_a_refund_goes_back_to_the_lots_that_paid(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        grant(session, people, 100, "gift")
        top_up(session, people, 100, "paid")
        generation_id = charge(session, people, 150)
        ledger.refund_generation(
            session, generation_id, 70, key="r1", author_id=people.owner.id, reason="broken"
        )
    assert remaining(database, people) == {"gift": 20, "paid": 100}
    assert payers(database, generation_id) == [("grant:gift", 80)]
    with database.transaction() as session:
        for _ in range(2):  # the same key moves nothing again
            ledger.refund_generation(
                session, generation_id, 80, key="r2", author_id=None, reason="broken"
            )
    assert remaining(database, people) == {"gift": 100, "paid": 100}
    with database.transaction() as session, pytest.raises(Conflict, match=r"At most \$0\.00 "):
        ledger.refund_generation(
            session, generation_id, 1, key="r3", author_id=None, reason="greedy"
        )


def test_nothing_is_refunded_for_what_was_never_charged(database: Database) -> None:
    people = team(database)
    with database.transaction() as session, pytest.raises(NotFound):
        ledger.refund_generation(
            session, hold(session, people, 5), 5, key="r", author_id=None, reason="never ran"
        )


def test_a_top_up_goes_back_to_its_payer_as_far_as_it_is_left_and_free(database: Database) -> None:
    people = team(database, balance_micros=0)

    def refund(session: Session, amount_micros: int, key: str) -> None:
        ledger.refund_top_up(
            session,
            people.id,
            amount_micros,
            top_up_key="pi_1",
            key=key,
            author_id=people.finance.id,
            note="asked for",
        )

    with database.transaction() as session:
        top_up(session, people, 1_000, "pi_1")
        charge(session, people, 300)
        hold(session, people, 200)
        with pytest.raises(Conflict, match=r"At most \$0\.0005 "):
            refund(session, 501, "re_1")
        refund(session, 400, "re_2")
        refund(session, 400, "re_2")
        with pytest.raises(Conflict, match="under the same key"):
            refund(session, 100, "re_2")
        with pytest.raises(NotFound):
            ledger.refund_top_up(
                session, people.id, 1, top_up_key="pi_0", key="x", author_id=None, note=""
            )
    assert remaining(database, people) == {"pi_1": 300}
    assert balance(database, people) == Balance(300, 200)


def test_a_refund_that_did_not_arrive_goes_back_to_the_lots_that_paid_it(
    database: Database,
) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        grant(session, people, 100, "gift")
        top_up(session, people, 1_000, "pi_1")

        def refund(key: str) -> int:
            return ledger.refund_top_up(
                session, people.id, 1_000, top_up_key="pi_1", key=key, author_id=None, note=""
            ).id

        def back(refund_id: int, key: str) -> int:
            return ledger.return_refund(session, people.id, refund_id, key=key, note="").id

        refund_id = refund("re_1")
        assert back(refund_id, "re_1") == back(refund_id, "re_1")
        with pytest.raises(Conflict, match="has come back"):
            back(refund_id, "re_2")
        with pytest.raises(NotFound):
            back(back(refund_id, "re_1"), "re_3")
        back(refund("re_4"), "re_4")  # all of it can be paid back again, and come back again
        assert ledger.balance(session, people.id) == Balance(1_100, 0)
    assert remaining(database, people) == {"gift": 100, "pi_1": 1_000}


def test_work_on_credit_is_owed_and_paid_from_the_next_top_up(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        ledger.set_credit_limit(
            session, people.id, 1_000, author_id=people.owner.id, reason="contract 7"
        )
        grant(session, people, 100, "gift")
        generation_id = charge(session, people, 700)
        second = charge(session, people, 200)
        with pytest.raises(InsufficientBalance, match=r"\$0\.0002 is available"):
            hold(session, people, 201)
    assert balance(database, people) == Balance(-800, 0, 1_000)
    assert balance(database, people).spendable_micros == 200
    assert payers(database, generation_id) == [("grant:gift", 100), (None, 600)]
    assert payers(database, second) == [(None, 200)]
    with database.transaction() as session:
        top_up(session, people, 500, "invoice-1")
    assert remaining(database, people) == {"gift": 0, "invoice-1": 0}
    with database.transaction() as session:
        top_up(session, people, 500, "invoice-2")
    assert remaining(database, people) == {"gift": 0, "invoice-1": 0, "invoice-2": 200}
    with database.transaction() as session:
        ledger.refund_generation(
            session, generation_id, 700, key="r", author_id=None, reason="all of it"
        )
    assert balance(database, people) == Balance(900, 0, 1_000)
    assert remaining(database, people)["gift"] == 100


def test_a_refund_while_money_is_owed_lowers_what_is_owed(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        ledger.set_credit_limit(session, people.id, 1_000, author_id=None, reason="contract")
        top_up(session, people, 100, "paid")
        generation_id = charge(session, people, 100)
        charge(session, people, 50)
        ledger.refund_generation(
            session, generation_id, 80, key="r", author_id=None, reason="broken"
        )
    assert remaining(database, people) == {"paid": 30}
    assert balance(database, people) == Balance(30, 0, 1_000)


def test_a_lost_dispute_takes_the_money_even_below_zero_and_freezes(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        top_up(session, people, 1_000, "pi_1")
        top_up(session, people, 200, "pi_2")
        charge(session, people, 900)
        running = hold(session, people, 100)
        for _ in range(2):
            ledger.chargeback(
                session, people.id, 1_000, top_up_key="pi_1", key="dp_1", note="fraud claimed"
            )
    assert balance(database, people).settled_micros == -700
    assert remaining(database, people) == {"pi_1": 0, "pi_2": 0}
    with database.transaction() as session, pytest.raises(WalletFrozen, match="Fay Finance"):
        hold(session, people, 1)
    with database.transaction() as session:  # what runs is finished and charged
        assert ledger.settle(session, running, 100)
        write_line(session, people, running, 100)
        top_up(session, people, 1_000, "pi_3")
        ledger.unfreeze(session, people.id, author_id=people.owner.id, reason="paid")
        hold(session, people, 200)
    assert remaining(database, people) == {"pi_1": 0, "pi_2": 0, "pi_3": 200}
    with database.transaction() as session, pytest.raises(Conflict, match="not more"):
        ledger.chargeback(session, people.id, 201, top_up_key="pi_2", key="dp_2", note="")


def test_a_frozen_wallet_takes_no_holds_and_says_why(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        assert ledger.freeze(session, people.id, "a dispute is open", author_id=None)
        assert not ledger.freeze(session, people.id, "a dispute is open", author_id=None)
    with database.transaction() as session, pytest.raises(WalletFrozen) as refusal:
        hold(session, people, 1)
    assert "a dispute is open." in refusal.value.message
    assert balance(database, people).spendable_micros == 0
    with database.transaction() as session:
        assert ledger.unfreeze(session, people.id, author_id=people.owner.id, reason="won")
        assert not ledger.unfreeze(session, people.id, author_id=people.owner.id, reason="won")
        hold(session, people, 1)
        changes = ledger.wallet_changes(session, people.id, limit=9)
        assert [(change.kind, change.reason) for change in changes] == [
            ("unfreeze", "won"),
            ("freeze", "a dispute is open"),
        ]


def test_an_adjustment_has_an_author_and_a_reason_and_takes_only_what_is_free(
    database: Database,
) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        for _ in range(2):
            entry = ledger.adjust(
                session, people.id, 500, key="a1", author_id=people.owner.id, reason="outage"
            )
        assert (entry.author_id, entry.note) == (people.owner.id, "outage")
        hold(session, people, 200)
        with pytest.raises(Conflict, match=r"At most \$0\.0003 "):
            ledger.adjust(session, people.id, -301, key="a2", author_id=None, reason="too much")
        ledger.adjust(session, people.id, -300, key="a3", author_id=None, reason="typing error")
        with pytest.raises(InvalidEntry):
            ledger.adjust(session, people.id, 1, key="a4", author_id=None, reason=" ")
        with pytest.raises(Conflict):
            ledger.adjust(session, people.id, 300, key="a3", author_id=None, reason="other way")
    assert balance(database, people) == Balance(200, 200)
    assert remaining(database, people) == {"a1": 200}


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MICROS_MAX + 1, 0.5, True])
def test_absurd_amounts_are_refused_by_every_verb(database: Database, amount: int) -> None:
    people = team(database, balance_micros=1_000)
    with database.transaction() as session:
        top_up(session, people, 1_000, "pi_1")
        charged = charge(session, people, 10)
    refusing = (
        lambda s: grant(s, people, amount, "k"),
        lambda s: ledger.refund_top_up(
            s, people.id, amount, top_up_key="pi_1", key="k", author_id=None, note=""
        ),
        lambda s: ledger.chargeback(s, people.id, amount, top_up_key="pi_1", key="k", note=""),
        lambda s: ledger.refund_generation(s, charged, amount, key="k", author_id=None, reason="x"),
    )
    for verb in refusing:
        with database.transaction() as session, pytest.raises(InvalidAmount):
            verb(session)
    if amount != -1:  # an adjustment may go down
        with database.transaction() as session, pytest.raises(InvalidAmount):
            ledger.adjust(session, people.id, amount, key="k", author_id=None, reason="x")
    if amount:  # no credit is a limit, too
        with database.transaction() as session, pytest.raises(InvalidAmount):
            ledger.set_credit_limit(session, people.id, amount, author_id=None, reason="x")
    assert balance(database, people) == Balance(1_990, 0)


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_movement_needs_a_key_of_sane_length(database: Database, key: str) -> None:
    people = team(database)
    with database.transaction() as session, pytest.raises(InvalidEntry):
        top_up(session, people, 1, key)


def test_another_organisations_top_up_cannot_be_refunded(database: Database) -> None:
    people, strangers = team(database), team(database)
    with database.transaction() as session:
        top_up(session, strangers, 1_000, "pi_theirs")
    with database.transaction() as session, pytest.raises(NotFound):
        ledger.refund_top_up(
            session, people.id, 1, top_up_key="pi_theirs", key="k", author_id=None, note=""
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lot SET amount_micros = amount_micros + 1 WHERE kind <> 'credit'",
        "UPDATE lot SET kind = 'promotional' WHERE kind = 'paid'",
        "UPDATE lot SET expires_at = now()",
        "UPDATE lot SET remaining_micros = amount_micros + 1",
        "UPDATE lot SET is_open = false",
        "DELETE FROM lot",
        "UPDATE lot_spend SET amount_micros = 1",
        "DELETE FROM wallet_change",
        "TRUNCATE lot_spend",
        "UPDATE account SET credit_limit_micros = -1",
        "UPDATE account SET frozen_reason = 'x' WHERE kind = 'cash'",
    ],
)
def test_the_database_keeps_lots_as_they_came(database: Database, statement: str) -> None:
    people = team(database)
    with database.transaction() as session:
        charge(session, people, 10)
        ledger.freeze(session, people.id, "x", author_id=None)
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.execute(text(statement))


TAMPERING = {
    "UPDATE lot SET remaining_micros = remaining_micros - 1 WHERE kind = 'paid'": "less its spends",
    "UPDATE lot_spend SET amount_micros = amount_micros - 1": "changed lots by",
    "DELETE FROM lot_spend": "changed lots by 0",
    "UPDATE lot SET kind = 'paid' WHERE kind = 'promotional'": "but its lot is paid",
    "UPDATE transfer SET kind = 'grant' WHERE kind = 'top_up'": "but its lot is paid",
    "DELETE FROM lot WHERE kind = 'promotional'": "but its lot is (none)",
    "UPDATE account SET frozen_reason = NULL": "is frozen: (no)",
    "UPDATE account SET credit_limit_micros = 9 WHERE kind = 'wallet'": "a credit limit of 9",
    "UPDATE transfer SET amount_micros = 99 WHERE kind = 'refund_generation'": "were paid back",
    "UPDATE transfer SET origin_id = (SELECT min(id) FROM transfer)"
    " WHERE kind = 'refund_generation'": "which it cannot",
    "DELETE FROM usage_line WHERE kind = 'correction'": "but its corrections say 0",
    "UPDATE lot SET organisation_id = (SELECT id FROM organisation ORDER BY created_at LIMIT 1)"
    " WHERE kind = 'paid'": "of another organisation",
}


@pytest.mark.parametrize(("tampering", "finding"), TAMPERING.items())
def test_the_audit_names_each_kind_of_contradiction(
    database: Database, tampering: str, finding: str
) -> None:
    team(database)
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        top_up(session, people, 100, "paid")
        grant(session, people, 5, "gift")
        charged = charge(session, people, 50)
        ledger.refund_generation(session, charged, 20, key="r", author_id=None, reason="x")
        ledger.freeze(session, people.id, "a dispute is open", author_id=None)
    assert remaining(database, people) == {"paid": 75, "gift": 0}
    with database.transaction() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text(tampering))
    with database.read() as session:
        differences = audit(session)
    assert any(finding in difference for difference in differences), differences
