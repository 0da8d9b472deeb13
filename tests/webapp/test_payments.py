"""Top-ups by card at a running studio, with the real SDK and the stand-in's signed messages."""

from contextlib import ExitStack

import pytest
from factories import team
from paying import USD, Desk, open_desk
from standin_at_work import DECLINED, OK

from licensing.audit import audit
from licensing.errors import AtelierError, NotAllowed, NotFound
from licensing.ledger import Transfer
from licensing.payments import overview, payment_lines
from licensing.payments.tables import Payment, PaymentEvent
from webapp import payments


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
    desk.standin.control("/advance", days=1)
    desk.deliver()
    assert desk.rows(Payment)[-1].state == "expired"
    with desk.database.read() as session:
        assert payment_lines(session, desk.team.id) == []


@pytest.mark.parametrize("micros", [0, -5 * USD, 5 * USD - 1, 10_000 * USD + 10_000, 5_000_001])
def test_amounts_that_no_card_is_asked_for(desk: Desk, micros: int) -> None:
    with pytest.raises(AtelierError, match=r"\$5\.00|cents"):
        payments.start_top_up(desk.studio, desk.team.owner, micros)
    assert desk.rows(Payment) == []


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


def test_messages_that_never_came_are_asked_for(desk: Desk) -> None:
    desk.top_up(25)
    assert payments.catch_up(desk.studio) > 0
    assert desk.balance().settled_micros == 25 * USD
    desk.deliver()
    assert desk.balance().settled_micros == 25 * USD
