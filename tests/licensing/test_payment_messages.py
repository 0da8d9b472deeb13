"""The provider's messages against our rows: any order, late, twice, forged in their contents."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from factories import Team, team
from racing import race
from sqlalchemy import text

from licensing import ledger
from licensing.audit import audit
from licensing.db import Database
from licensing.money import MICROS_PER_USD
from licensing.payments import apply, cards, events, freezes, notices, top_ups
from licensing.payments.tables import Payment, PaymentCustomer, PaymentEvent
from webapp.payments import intake

USD = MICROS_PER_USD
CUSTOMER = "cus_nord"
INTENT = "pi_1"
Message = dict[str, Any]


@pytest.fixture
def nord(database: Database) -> Team:
    made = team(database, balance_micros=0)
    with database.transaction() as session:
        cards.keep_customer(session, made.id, CUSTOMER)
    return made


@pytest.fixture
def payment(database: Database, nord: Team) -> Payment:
    """Somebody has gone to the provider's page to pay $25."""
    with database.transaction() as session:
        begun = top_ups.begin(session, nord.id, 25 * USD, author_id=nord.owner.id)
        top_ups.asked(session, begun.id, "cs_1")
    return begun


def message(kind: str, payload: Message) -> Message:
    data = {"object": payload, "previous_attributes": None}
    created = int(time.time())
    return {"id": f"evt_{uuid.uuid4().hex}", "type": kind, "created": created, "data": data}


def about(payment: Payment, **changes: Any) -> Message:
    own = {"atelier_payment": str(payment.id), "atelier_organisation": str(payment.organisation_id)}
    return {"customer": CUSTOMER, "currency": "usd", "metadata": own, **changes}


def session_paid(payment: Payment, **changes: Any) -> Message:
    payload = {
        "id": "cs_1",
        "mode": "payment",
        "payment_status": "paid",
        "payment_intent": INTENT,
        "amount_total": 2500,
        **changes,
    }
    return message("checkout.session.completed", about(payment, **payload))


def succeeded(payment: Payment, **changes: Any) -> Message:
    payload = {"id": INTENT, "amount_received": 2500, **changes}
    return message("payment_intent.succeeded", about(payment, **payload))


def declined(payment: Payment) -> Message:
    error = {"message": "Your card was declined."}
    payload = about(payment, id=INTENT, last_payment_error=error)
    return message("payment_intent.payment_failed", payload)


def expired(payment: Payment) -> Message:
    return message("checkout.session.expired", about(payment, id="cs_1", mode="payment"))


def pending(payment: Payment) -> Message:
    """The payer chose a bank debit: the money comes days after the page has ended."""
    return session_paid(payment, payment_status="unpaid")


def refunded(_: Payment, status: str = "succeeded") -> Message:
    payload = {
        "id": "re_1",
        "payment_intent": INTENT,
        "amount": 500,
        "currency": "usd",
        "status": status,
        "metadata": {},
    }
    return message("refund.failed" if status == "failed" else "refund.created", payload)


def sent_back(payment: Payment) -> Message:
    return refunded(payment, "failed")


def disputed(status: str) -> Callable[[Payment], Message]:
    def told(_: Payment) -> Message:
        kind = "created" if status == "needs_response" else "closed"
        payload = {
            "id": "du_1",
            "payment_intent": INTENT,
            "amount": 2500,
            "currency": "usd",
            "status": status,
            "reason": "fraudulent",
        }
        return message(f"charge.dispute.{kind}", payload)

    return told


def settled_micros(database: Database, organisation_id: uuid.UUID) -> int:
    with database.read() as session:
        assert audit(session) == []
        return ledger.balance(session, organisation_id).settled_micros


def state(database: Database, payment: Payment) -> str:
    with database.read() as session:
        found = session.get(Payment, payment.id)
    assert found is not None
    return found.state


def why(database: Database, told: Message) -> tuple[str, str]:
    with database.read() as session:
        event = session.get(PaymentEvent, told["id"])
    assert event is not None
    return event.status, event.error or ""


STORIES: dict[str, tuple[list[Callable[[Payment], Message]], int, str]] = {
    "paid": ([session_paid, succeeded], 25, "paid"),
    "declined, then paid": ([declined, session_paid, succeeded], 25, "paid"),
    "expired late": ([expired, succeeded], 25, "paid"),
    "paid, a part refunded": ([session_paid, succeeded, refunded], 20, "paid"),
    "a bank debit, a part refunded": ([pending, succeeded, refunded], 20, "paid"),
    "refunded, sent back": ([session_paid, refunded, sent_back], 25, "paid"),
    "disputed and won": ([succeeded, disputed("needs_response"), disputed("won")], 25, "paid"),
    "disputed and lost": ([succeeded, disputed("needs_response"), disputed("lost")], 0, "paid"),
    "never paid": ([declined, expired], 0, "expired"),
}


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_the_same_in_any_order_and_told_twice(
    database: Database, nord: Team, name: str
) -> None:
    story, usd, ending = STORIES[name]
    for order in itertools.permutations(range(len(story))):
        with database.transaction() as session:
            payment = top_ups.begin(session, nord.id, 25 * USD, author_id=nord.owner.id)
            top_ups.asked(session, payment.id, f"cs_{payment.id}")
        before = settled_micros(database, nord.id)
        told = [renamed(story[number](payment), payment) for number in order]
        for event in (*told, *told):
            intake.receive(database, event)
        intake.replay(database)
        assert state(database, payment) == ending, order
        assert settled_micros(database, nord.id) == before + usd * USD, order
        assert {why(database, event)[0] for event in told} == {"applied"}, order
        with database.transaction() as session:
            ledger.unfreeze(session, nord.id, author_id=None, reason="the next order")


def renamed(event: Message, payment: Payment) -> Message:
    """Give this round's objects names of their own."""
    words = repr(event)
    for name in ("cs_1", INTENT, "re_1", "du_1"):
        words = words.replace(f"'{name}'", f"'{name}_{payment.id}'")
    found: Message = eval(words)
    found["data"]["object"]["id"] = found["data"]["object"]["id"].replace(
        f"cs_1_{payment.id}", f"cs_{payment.id}"
    )
    return found


def test_copies_that_come_at_once_pay_once(
    database: Database, nord: Team, payment: Payment
) -> None:
    told = [session_paid(payment), succeeded(payment)]
    race([lambda event=event: intake.receive(database, event) for event in told * 6])  # type: ignore[misc]
    assert settled_micros(database, nord.id) == 25 * USD


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"currency": "eur"}, "eur"),
        ({"amount_received": 2400}, r"$24.00"),
        ({"amount_received": 250_000}, "$2,500.00"),
        ({"amount_received": -2500}, "amount_received"),
        ({"amount_received": 2500.0}, "amount_received"),
        ({"customer": "cus_other"}, "somebody else"),
        ({"customer": None}, "somebody else"),
    ],
)
def test_a_message_that_disagrees_with_the_row_moves_nothing(
    database: Database, nord: Team, payment: Payment, changes: Message, words: str
) -> None:
    told = succeeded(payment, **changes)
    assert intake.receive(database, told) == "failed"
    assert words in why(database, told)[1]
    assert (settled_micros(database, nord.id), state(database, payment)) == (0, "started")


def test_another_organisations_metadata_or_customer_moves_nothing(
    database: Database, nord: Team, payment: Payment
) -> None:
    other = team(database, balance_micros=0)
    with database.transaction() as session:
        cards.keep_customer(session, other.id, "cus_other")
    stolen = succeeded(payment, customer="cus_other")
    stolen["data"]["object"]["metadata"]["atelier_organisation"] = str(other.id)
    assert intake.receive(database, stolen) == "failed"
    assert settled_micros(database, nord.id) == settled_micros(database, other.id) == 0


@pytest.mark.parametrize(
    "told",
    [
        message("payment_intent.succeeded", {"id": "pi_x", "metadata": {}, "customer": "cus_x"}),
        message("payment_method.attached", {"id": "pm_x", "customer": "cus_x"}),
        message("customer.subscription.updated", {"id": "sub_x", "metadata": {}}),
        message("invoice.paid", {"id": "in_x", "metadata": {}, "status": "paid"}),
        message("balance.available", {}),
    ],
    ids=lambda told: str(told["type"]),
)
def test_what_is_not_ours_is_kept_and_left_alone(
    database: Database, nord: Team, told: Message
) -> None:
    assert intake.receive(database, told) == "ignored"
    assert why(database, told)[1] != ""
    assert settled_micros(database, nord.id) == 0


@pytest.mark.parametrize(
    "payload", [{}, {"id": 7}, {"metadata": "x"}, {"metadata": {"atelier_payment": []}}]
)
@pytest.mark.parametrize(
    "kind",
    [
        "payment_intent.succeeded",
        "invoice.paid",
        "refund.created",
        "charge.dispute.closed",
        "customer.subscription.updated",
        "subscription_schedule.updated",
        "payment_method.detached",
    ],
)
def test_nonsense_never_stops_the_intake(database: Database, kind: str, payload: Message) -> None:
    assert intake.receive(database, message(kind, payload)) in {"ignored", "failed"}


def test_what_failed_is_tried_again_and_can_be_replayed(
    database: Database, nord: Team, payment: Payment
) -> None:
    told = succeeded(payment)
    with database.transaction() as session:
        session.delete(session.get_one(PaymentCustomer, nord.id))
    assert intake.receive(database, told) == "failed"
    with database.read() as session:
        assert [event.id for event in events.find(session, limit=9, only_open=True)] == [told["id"]]
    with database.transaction() as session:
        cards.keep_customer(session, nord.id, CUSTOMER)
    assert intake.replay(database) == [(told["id"], "applied")]
    assert intake.replay(database, told["id"]) == [(told["id"], "applied")]
    assert settled_micros(database, nord.id) == 25 * USD


def test_a_dispute_about_an_invoice_paid_by_card_finds_the_wallet(
    database: Database, nord: Team
) -> None:
    with database.transaction() as session:
        paid = top_ups.write(session, nord.id, "invoice", 25 * USD)
        top_ups.pay(session, paid, "in_1")
    by_card = {"invoice": "in_1", "payment": {"type": "payment_intent", "payment_intent": INTENT}}
    told = [disputed("lost")(paid), message("invoice_payment.paid", by_card)]
    for event in told:
        intake.receive(database, event)
    intake.replay(database)
    assert {why(database, event)[0] for event in told} == {"applied"}
    assert settled_micros(database, nord.id) == 0


def test_a_dispute_opened_while_another_is_won_keeps_the_wallet_frozen(
    database: Database, nord: Team, payment: Payment
) -> None:
    with database.transaction() as session:
        second = top_ups.begin(session, nord.id, 25 * USD, author_id=nord.owner.id)
    won = disputed("won")(payment)
    opened = renamed(disputed("needs_response")(second), second)
    told = succeeded(payment), renamed(succeeded(second), second)
    for event in (*told, disputed("needs_response")(payment)):
        assert intake.receive(database, event) == "applied"
    with ThreadPoolExecutor(1) as other:
        with database.transaction() as session:
            events.record(session, opened)
            assert apply.apply(session, opened["id"]) == "applied"
            later = other.submit(intake.receive, database, won)
            until_it_ends_or_waits(database, later)
        assert later.result() == "applied"
    with database.read() as session:
        assert ledger.balance(session, nord.id).frozen_reason == freezes.DISPUTED
        assert [notice.kind for notice in notices.open_notices(session, nord.id)] == ["dispute"]


def until_it_ends_or_waits(database: Database, work: Future[str]) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted")
    for _ in range(2_000):
        with database.engine.connect() as connection:
            if work.done() or connection.scalar(waiting):
                return
        threading.Event().wait(0.005)
    pytest.fail("it neither ends nor waits")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE payment SET amount_micros = amount_micros + 10000", "is paid with 25010000"),
        ("UPDATE payment SET payment_intent_id = 'pi_9'", "is paid with 25000000"),
        (
            "UPDATE payment SET state = 'failed', transfer_id = NULL",
            "no payment, refund or dispute says so",
        ),
        ("UPDATE payment_refund SET amount_micros = 6000000", "Refund"),
    ],
)
def test_the_audit_compares_payments_with_the_ledger(
    database: Database, payment: Payment, damage: str, words: str
) -> None:
    for told in (succeeded(payment), refunded(payment)):
        assert intake.receive(database, told) == "applied"
    with database.transaction() as session:
        assert audit(session) == []
        session.execute(text(damage))
    with database.read() as session:
        assert words in audit(session)[0]


def test_a_second_payment_for_one_row_waits_for_a_person(
    database: Database, nord: Team, payment: Payment
) -> None:
    intake.receive(database, succeeded(payment))
    again = succeeded(payment, id="pi_2")
    assert intake.receive(database, again) == "failed"
    assert "again" in why(database, again)[1]
    assert settled_micros(database, nord.id) == 25 * USD
