"""What Stripe, banks and time do to a studio, made to happen by the control endpoints."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import stripe
from standin_at_work import DISPUTED, OK, Standin, open_standin

DAY = 24 * 3600


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    with ExitStack() as stack:
        yield open_standin(stack, tmp_path)


def payer(standin: Standin, token: str = "pm_card_visa") -> tuple[str, str]:
    """Return a customer and their saved card."""
    client = standin.client.v1
    customer = client.customers.create({"name": "Payer"})
    return customer.id, client.payment_methods.attach(token, {"customer": customer.id}).id


def charge(standin: Standin, customer: str, card: str, cents: int = 1000) -> stripe.PaymentIntent:
    return standin.client.v1.payment_intents.create(
        {
            "amount": cents,
            "currency": "usd",
            "customer": customer,
            "payment_method": card,
            "off_session": True,
            "confirm": True,
        }
    )


def test_a_message_can_come_twice_late_forged_and_in_any_order(standin: Standin) -> None:
    charge(standin, *payer(standin))
    assert standin.listener.events == []
    oldest_first = [m["type"] for m in standin.control()["messages"]][::-1]
    assert standin.deliver(order="newest") == oldest_first[::-1]
    event = standin.listener.events[0].id
    assert standin.control("/send", event=event, times=3)["statuses"] == [200] * 3
    assert [heard.id for heard in standin.listener.events].count(event) == 4
    for signed in ("wrong", "old"):
        assert standin.control("/send", event=event, signed=signed)["statuses"] == [400]
    assert standin.listener.forged == 2


def test_a_message_that_is_not_taken_comes_again(standin: Standin) -> None:
    standin.listener.refusing = 1
    standin.control("/hold", on=False)
    standin.client.v1.customers.create({"name": "Somebody"})
    assert standin.listener.came.wait(20)  # the postman tries again after a second
    assert standin.listener.types() == ["customer.created"]
    assert standin.listener.refusing == 0


def test_a_saved_card_is_charged_and_declined_without_its_holder(standin: Standin) -> None:
    customer, card = payer(standin)
    assert charge(standin, customer, card).status == "succeeded"
    standin.control("/declines", reason="insufficient_funds")
    with pytest.raises(stripe.CardError) as refused:
        charge(standin, customer, card)
    error: Any = refused.value.error
    assert (error.code, error.decline_code) == ("card_declined", "insufficient_funds")
    assert error.payment_intent.status == "requires_payment_method"
    failed = standin.client.v1.charges.retrieve(error.charge)
    assert (failed.status, failed.paid) == ("failed", False)
    assert charge(standin, customer, card).status == "succeeded", "one decline was asked for"
    assert standin.deliver().count("payment_intent.payment_failed") == 1


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("pm_card_chargeCustomerFail", "card_declined"),
        ("pm_card_authenticationRequired", "authentication_required"),
    ],
)
def test_some_cards_can_be_saved_and_not_charged(standin: Standin, token: str, code: str) -> None:
    with pytest.raises(stripe.CardError) as refused:
        charge(standin, *payer(standin, token))
    assert refused.value.code == code


def test_a_decline_is_the_same_answer_for_the_same_key(standin: Standin) -> None:
    customer, card = payer(standin)
    standin.control("/declines", reason="generic_decline")
    order: Any = {
        "amount": 1000,
        "currency": "usd",
        "customer": customer,
        "payment_method": card,
        "off_session": True,
        "confirm": True,
    }
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            standin.client.v1.payment_intents.create(order, {"idempotency_key": "once"})
    assert standin.deliver().count("charge.failed") == 1


def test_refunds_go_back_in_parts_and_may_fail(standin: Standin) -> None:
    refunds = standin.client.v1.refunds
    intent = charge(standin, *payer(standin))
    first = refunds.create({"payment_intent": intent.id, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError, match="greater than what is left"):
        refunds.create({"payment_intent": intent.id, "amount": 601})
    assert refunds.create({"payment_intent": intent.id}).amount == 600
    with pytest.raises(stripe.InvalidRequestError) as refused:
        refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"
    standin.control(f"/refunds/{first.id}/fail")
    assert refunds.retrieve(first.id).status == "failed"
    paid = standin.client.v1.charges.retrieve(str(intent.latest_charge))
    assert (paid.amount_refunded, paid.refunded) == (600, False)
    heard = standin.deliver()
    assert heard.count("refund.created") == 2
    assert heard[-1] == "refund.failed"


@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_a_dispute_is_opened_and_decided(standin: Standin, outcome: str) -> None:
    intent = charge(standin, *payer(standin))
    opened = standin.control("/disputes", charge=intent.id)
    assert (opened["status"], opened["amount"]) == ("needs_response", 1000)
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        standin.client.v1.refunds.create({"payment_intent": intent.id})
    assert standin.control(f"/disputes/{opened['id']}", outcome=outcome)["status"] == outcome
    heard = standin.deliver()
    assert heard.index("charge.dispute.created") < heard.index("charge.dispute.closed")
    assert heard.count("charge.dispute.funds_reinstated") == (outcome == "won")
    assert standin.listener.last("charge.dispute.closed").payment_intent == intent.id


def test_an_inquiry_takes_nothing_until_it_is_a_dispute(standin: Standin) -> None:
    intent = charge(standin, *payer(standin))
    asked = standin.control("/disputes", charge=intent.id, inquiry=True)
    assert asked["status"] == "warning_needs_response"
    assert "charge.dispute.funds_withdrawn" not in standin.deliver()
    standin.control(f"/disputes/{asked['id']}", outcome="escalated")
    assert "charge.dispute.funds_withdrawn" in standin.deliver()


def test_time_opens_disputes_and_closes_pages(standin: Standin) -> None:
    client = standin.client.v1
    customer = client.customers.create({"name": "Payer"})
    sessions = [
        client.checkout.sessions.create(
            {
                "mode": "setup" if number == 0 else "payment",
                "customer": customer.id,
                "success_url": "http://127.0.0.1:1/",
                **({"line_items": [item()]} if number else {"currency": "usd"}),
            }
        )
        for number in range(3)
    ]
    for session, card in zip(sessions, (OK, DISPUTED), strict=False):
        assert session.url is not None
        assert standin.pay(session.url, card).status_code == 303
    assert client.customers.payment_methods.list(customer.id).data[0].card is not None
    standin.control("/advance", seconds=DAY - 60)
    assert "charge.dispute.created" not in standin.deliver()
    standin.control("/advance", seconds=120)
    heard = standin.deliver()
    assert "charge.dispute.created" in heard
    assert heard.count("checkout.session.expired") == 1
    assert client.checkout.sessions.retrieve(sessions[2].id).status == "expired"
    assert "has run out" in standin.http.get(f"/stripe-standin/checkout/{sessions[2].id}").text


def item() -> Any:
    return {
        "quantity": 1,
        "price_data": {
            "currency": "usd",
            "unit_amount": 1000,
            "product_data": {"name": "Balance"},
        },
    }


def test_events_can_be_read_again_by_page_and_time(standin: Standin) -> None:
    charge(standin, *payer(standin))
    events = standin.client.v1.events
    everything = [event.id for event in events.list({"limit": 100}).data]
    paged = [event.id for event in events.list({"limit": 2}).auto_paging_iter()]
    assert paged == everything
    assert events.retrieve(paged[-1]).type == "customer.created"
    later = standin.control()["now"] + 1
    assert events.list({"created": {"gte": later}}).data == []
    with pytest.raises(stripe.InvalidRequestError):
        events.list({"limit": 101})


def test_the_control_page_shows_and_refuses_in_words(standin: Standin) -> None:
    intent = charge(standin, *payer(standin))
    standin.control("/disputes", charge=intent.id)
    browser = {"accept": "text/html"}
    shown = standin.http.get("/stripe-standin/control", headers=browser).text
    for words in ("No money moves", "payment_intent.succeeded", "$10.00", "We lose"):
        assert words in shown
    standin.control("/hold", on=False)
    shown = standin.http.get("/stripe-standin/control", headers=browser).text
    assert "Deliver the oldest first" in shown, "what is held can still be sent"
    twice = standin.http.post(
        "/stripe-standin/control/disputes", data={"charge": intent.id}, headers=browser
    )
    assert twice.status_code == 409
    assert "Only a paid charge can be disputed, once." in twice.text
    acted = standin.http.post("/stripe-standin/control/advance", data={"days": 1}, headers=browser)
    assert acted.status_code == 303
    wrong: Any = ({"reason": "because"}, {"reason": "lost_card", "times": 0})
    for fields in wrong:
        refused = standin.http.post("/stripe-standin/control/declines", data=fields)
        assert refused.status_code in (400, 422)
    assert (
        standin.http.post("/stripe-standin/control/advance", data={"days": 999_999}).status_code
        == 400
    )
