"""Top-ups by card at a running studio, with the real SDK and the stand-in's signed messages."""

import asyncio
import hmac
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta

import pytest
from desks import open_desks
from factories import team
from paying import USD, Desk, open_desk
from sqlalchemy import text
from standin_at_work import DECLINED, OK

from licensing.audit import audit
from licensing.db import now
from licensing.errors import AtelierError, NotAllowed, NotFound
from licensing.ledger import Transfer
from licensing.payments import overview, payment_lines
from licensing.payments.tables import Payment, PaymentEvent
from webapp import payments
from webapp.payment_settings import STANDIN_WEBHOOK_SECRET
from webapp.payments import due


@pytest.fixture
def desk(stack: ExitStack, environ: dict[str, str]) -> Desk:
    return open_desk(stack, environ)


def test_a_payment_is_in_the_wallet_once_its_message_has_come(desk: Desk) -> None:
    payment = desk.top_up(25)
    assert (payment.state, desk.balance().settled_micros) == ("started", 0)
    assert {status for _, status in desk.deliver()} == {200}
    assert desk.balance().settled_micros == 25 * USD
    with desk.database.read() as session:
        (line,) = payment_lines(session, desk.team.id)
        assert audit(session) == []
    assert (line.state, line.amount_micros, line.refundable_micros) == ("paid", 25 * USD, 25 * USD)
    assert line.author_id == desk.team.finance.id
    assert "failed" not in desk.statuses()


def test_duplicates_and_the_reverse_order_pay_once(desk: Desk) -> None:
    desk.top_up(25)
    desk.deliver(order="newest")
    for event in desk.rows(PaymentEvent):
        desk.standin.control("/send", event=event.id, times=2)
    assert desk.balance().settled_micros == 25 * USD
    assert len([t for t in desk.rows(Transfer) if t.kind == "top_up"]) == 1
    assert "failed" not in desk.statuses()


def test_forged_and_stale_messages_leave_no_trace(desk: Desk) -> None:
    desk.top_up(25)
    desk.deliver(type="customer.created")
    (event,) = desk.rows(PaymentEvent)
    before = desk.rows(PaymentEvent)
    held = [m for m in desk.standin.control()["messages"] if m["status"] == "held"]
    for signed in ("wrong", "old"):
        answer = desk.standin.control("/send", event=held[0]["event"], signed=signed)
        assert answer["statuses"] == [400]
    unsigned = desk.http.post("/stripe/webhook", json={"id": "evt_1", "type": "x", "created": 1})
    assert unsigned.status_code == 400
    assert [e.id for e in desk.rows(PaymentEvent)] == [e.id for e in before] == [event.id]
    assert desk.balance().settled_micros == 0


def test_a_declined_card_may_be_followed_by_a_good_one(desk: Desk) -> None:
    url = payments.start_top_up(desk.studio, desk.team.owner, 10 * USD)
    desk.standin.pay(url, DECLINED)
    desk.deliver()
    with desk.database.read() as session:
        (line,) = payment_lines(session, desk.team.id)
    assert line.state == "started"
    assert line.failure is not None
    assert "declined" in line.failure
    desk.standin.pay(url, OK)
    desk.deliver()
    assert desk.balance().settled_micros == 10 * USD
    assert desk.rows(Payment)[-1].failure is None


def test_a_page_left_without_paying_expires(desk: Desk) -> None:
    payments.start_top_up(desk.studio, desk.team.owner, 10 * USD)
    desk.standin.control("/advance", days=2)
    desk.deliver()
    assert desk.rows(Payment)[-1].state == "expired"
    with desk.database.read() as session:
        assert payment_lines(session, desk.team.id) == []


@pytest.mark.parametrize("micros", [0, -5 * USD, 5 * USD - 1, 10_000 * USD + 10_000, 5_000_001])
def test_amounts_that_no_card_is_asked_for(desk: Desk, micros: int) -> None:
    with pytest.raises(AtelierError, match=r"\$5\.00|cents"):
        payments.start_top_up(desk.studio, desk.team.owner, micros)
    assert desk.rows(Payment) == []


def test_the_form_says_the_limits_of_a_top_up(stack: ExitStack, environ: dict[str, str]) -> None:
    desks = open_desks(stack, environ)
    payer = desks.ask(desks.team.finance)
    for other in ("0", "0.00", "4.99", "10001", "2000000"):
        answer = payer.post("/finance/top-up", data={"amount": "other", "other": other})
        assert answer.status_code == 422
        assert "A top-up is from $5.00 to $10,000.00." in answer.text, other
    limits = {"threshold": "20", "amount": "0", "ceiling": "100"}
    answer = payer.post("/finance/automatic", data=limits)
    assert "A top-up is from $5.00 to $10,000.00." in answer.text


def test_only_owner_and_finance_pay(desk: Desk) -> None:
    for member in (desk.team.admin, desk.team.creator, desk.team.reviewer):
        with pytest.raises(NotAllowed):
            payments.start_top_up(desk.studio, member, 10 * USD)
    assert desk.rows(Payment) == []


def test_a_saved_card_is_known_by_four_digits_and_can_be_taken_away(desk: Desk) -> None:
    desk.saved_card()
    with desk.database.read() as session:
        card = overview(session, desk.team.id).card
    assert card is not None
    assert (card.brand, card.last4) == ("visa", "4242")
    stranger = team(desk.database).owner
    with pytest.raises(NotFound):
        payments.remove_card(desk.studio, stranger, card.id)
    payments.remove_card(desk.studio, desk.team.owner, card.id)
    desk.deliver()
    with desk.database.read() as session:
        assert overview(session, desk.team.id).card is None


@pytest.mark.parametrize("body", [b"", b"[]", b"not json", b"\xff\xfe", b'{"id": "evt_1"}'])
def test_a_signed_body_that_is_no_event_is_refused(desk: Desk, body: bytes) -> None:
    answer = desk.http.post("/stripe/webhook", content=body, headers=signed(body))
    assert answer.status_code in {400, 409}
    assert desk.rows(PaymentEvent) == []


def test_a_text_that_no_column_holds_does_not_stop_a_message(desk: Desk) -> None:
    body = b'{"id": "evt_1", "type": "x.y", "created": 1, "data": {"a": "b\\u0000c"}}'
    assert desk.http.post("/stripe/webhook", content=body, headers=signed(body)).is_success
    assert [event.payload["data"] for event in desk.rows(PaymentEvent)] == [{"a": "bc"}]


def signed(body: bytes) -> dict[str, str]:
    at = int(time.time())
    signature = hmac.new(STANDIN_WEBHOOK_SECRET.encode(), f"{at}.".encode() + body, "sha256")
    return {"stripe-signature": f"t={at},v1={signature.hexdigest()}"}


def test_a_payment_nobody_heard_of_again_expires_and_may_still_be_paid(desk: Desk) -> None:
    desk.top_up(25)
    payments.run_due(desk.studio, now() + timedelta(days=4))
    assert desk.rows(Payment)[-1].state == "expired"
    desk.deliver()
    assert (desk.rows(Payment)[-1].state, desk.balance().settled_micros) == ("paid", 25 * USD)


def test_messages_that_never_came_are_asked_for(desk: Desk) -> None:
    desk.top_up(25)
    assert payments.catch_up(desk.studio) > 0
    assert desk.balance().settled_micros == 25 * USD
    desk.deliver()
    assert desk.balance().settled_micros == 25 * USD


def test_a_round_that_breaks_off_is_followed_by_the_next_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(due, "ROUND_SECONDS", 0.01)

    async def pay_until(is_so: Callable[[], bool]) -> None:
        paying = asyncio.create_task(payments.keep_paying(desk.studio))
        while not (paying.done() or is_so()):
            await asyncio.wait([paying], timeout=0.01)
        assert is_so(), paying
        paying.cancel()
        with suppress(asyncio.CancelledError):
            await paying

    with desk.database.transaction() as session:
        session.execute(text("ALTER TABLE payment_notice RENAME TO payment_notice_away"))
    try:
        asyncio.run(pay_until(lambda: caplog.text.count("broke off: low balances") > 1))
        desk.top_up(25)
        broken = payments.run_due(desk.studio, now() + timedelta(days=4))
        assert {"low balances", "overdue invoices"} <= set(broken)
        assert {"messages", "pages left"}.isdisjoint(broken)  # a step for itself is done
        assert [payment.state for payment in desk.rows(Payment)] == ["expired"]
    finally:
        with desk.database.transaction() as session:
            session.execute(text("ALTER TABLE payment_notice_away RENAME TO payment_notice"))
