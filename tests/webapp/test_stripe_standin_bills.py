"""The stand-in's subscriptions, schedules and invoices, by the real SDK."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import stripe
from standin_at_work import DECLINED, OK, Standin, open_standin

SEAT = "price_standin_business"
SEAT_CENTS = 2000
DAY = 24 * 3600


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    with ExitStack() as stack:
        yield open_standin(stack, tmp_path)


def subscribe(standin: Standin, seats: int = 3, card: str = OK) -> stripe.Subscription:
    """Buy seats on the page; return the subscription."""
    client = standin.client.v1
    customer = client.customers.create({"name": "Demo Atelier", "email": "pay@demo.example"})
    session = client.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "line_items": [{"price": SEAT, "quantity": seats}],
            "subscription_data": {"metadata": {"tier": "business"}},
            "success_url": "http://127.0.0.1:1/team",
        }
    )
    assert session.url is not None
    assert standin.pay(session.url, card).status_code == 303
    done = client.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
    assert done.payment_status == "paid"
    assert isinstance(done.subscription, stripe.Subscription)
    return done.subscription


def item_of(subscription: stripe.Subscription) -> Any:
    return subscription["items"].data[0]


def test_seats_are_bought_on_the_page_and_renewed_by_the_saved_card(standin: Standin) -> None:
    bought = subscribe(standin)
    item = item_of(bought)
    assert (bought.status, item.quantity, bought.metadata["tier"]) == ("active", 3, "business")
    heard = standin.deliver()
    for one, next_one in (
        ("customer.subscription.created", "invoice.finalized"),
        ("invoice.finalized", "invoice.paid"),
        ("invoice.paid", "checkout.session.completed"),
    ):
        assert heard.index(one) < heard.index(next_one)
    standin.control("/advance", seconds=item.current_period_end - standin.control()["now"])
    standin.deliver()
    paid = standin.listener.last("invoice.paid")
    assert (paid.billing_reason, paid.total) == ("subscription_cycle", 3 * SEAT_CENTS)
    assert paid.parent.subscription_details.metadata["tier"] == "business"
    renewed = item_of(standin.client.v1.subscriptions.retrieve(bought.id))
    assert renewed.current_period_start == item.current_period_end


def test_more_seats_cost_what_the_preview_said(standin: Standin) -> None:
    bought = subscribe(standin)
    item = item_of(bought)
    half = (item.current_period_start + item.current_period_end) // 2
    standin.control("/advance", seconds=half - standin.control()["now"])
    items: Any = [{"id": item.id, "quantity": 5}]
    details: Any = {
        "items": items,
        "proration_behavior": "always_invoice",
        "proration_date": half,
    }
    preview = standin.client.v1.invoices.create_preview(
        {"subscription": bought.id, "subscription_details": details}
    )
    assert [line.amount for line in preview.lines.data] == [-3000, 5000]
    assert preview.total == 2000
    after: Any = standin.client.v1.subscriptions.retrieve(bought.id)
    assert item_of(after).quantity == 3, "a preview changes nothing"
    changed = standin.client.v1.subscriptions.update(
        bought.id, {**details, "payment_behavior": "error_if_incomplete"}
    )
    assert item_of(changed).quantity == 5
    standin.deliver()
    paid = standin.listener.last("invoice.paid")
    assert (paid.billing_reason, paid.total) == ("subscription_update", preview.total)
    assert standin.listener.last("customer.subscription.updated")["items"].data[0].quantity == 5
    upcoming = standin.client.v1.invoices.create_preview({"subscription": bought.id})
    assert upcoming.total == 5 * SEAT_CENTS


def test_more_seats_that_cannot_be_paid_are_not_there(standin: Standin) -> None:
    bought = subscribe(standin)
    standin.deliver()
    heard = len(standin.listener.events)
    standin.control("/declines", reason="insufficient_funds")
    items: Any = [{"id": item_of(bought).id, "quantity": 9}]
    with pytest.raises(stripe.CardError) as refused:
        standin.client.v1.subscriptions.update(
            bought.id,
            {
                "items": items,
                "proration_behavior": "always_invoice",
                "payment_behavior": "error_if_incomplete",
            },
        )
    assert refused.value.code == "card_declined"
    assert item_of(standin.client.v1.subscriptions.retrieve(bought.id)).quantity == 3
    standin.deliver()
    assert len(standin.listener.events) == heard


def test_fewer_seats_come_with_the_next_period(standin: Standin) -> None:
    client = standin.client.v1
    bought = subscribe(standin, 5)
    schedule = client.subscription_schedules.create({"from_subscription": bought.id})
    current = schedule.current_phase
    assert current is not None
    phases: Any = [
        {
            "start_date": current.start_date,
            "end_date": current.end_date,
            "items": [{"price": SEAT, "quantity": 5}],
        },
        {
            "start_date": current.end_date,
            "duration": {"interval": "month", "interval_count": 1},
            "items": [{"price": SEAT, "quantity": 2}],
        },
    ]
    client.subscription_schedules.update(
        schedule.id,
        {"phases": phases, "end_behavior": "release", "proration_behavior": "none"},
    )
    assert item_of(client.subscriptions.retrieve(bought.id)).quantity == 5
    standin.control("/advance", seconds=current.end_date - standin.control()["now"])
    assert item_of(client.subscriptions.retrieve(bought.id)).quantity == 2
    standin.deliver()
    assert standin.listener.last("invoice.paid").total == 2 * SEAT_CENTS
    standin.control("/advance", days=32)
    after = client.subscriptions.retrieve(bought.id)
    assert (after.schedule, after.status, item_of(after).quantity) == (None, "active", 2)
    assert standin.deliver().count("subscription_schedule.released") == 1


def test_a_reduction_can_be_taken_back(standin: Standin) -> None:
    client = standin.client.v1
    bought = subscribe(standin)
    schedule = client.subscription_schedules.create({"from_subscription": bought.id})
    assert client.subscriptions.retrieve(bought.id).schedule == schedule.id
    assert client.subscription_schedules.release(schedule.id).status == "released"
    assert client.subscriptions.retrieve(bought.id).schedule is None
    with pytest.raises(stripe.InvalidRequestError, match="released"):
        client.subscription_schedules.release(schedule.id)


def test_a_card_that_fails_makes_seats_past_due_and_then_ends_them(standin: Standin) -> None:
    bought = subscribe(standin)
    standin.control("/declines", reason="generic_decline", times=4)
    standin.control("/advance", days=32)
    assert standin.client.v1.subscriptions.retrieve(bought.id).status == "past_due"
    standin.control("/advance", days=9)
    assert standin.client.v1.subscriptions.retrieve(bought.id).status == "canceled"
    heard = standin.deliver()
    assert heard.count("invoice.payment_failed") == 4
    assert heard[-1] == "customer.subscription.deleted"


def test_an_invoice_is_sent_net_30_and_paid_by_transfer(standin: Standin) -> None:
    client = standin.client.v1
    customer = client.customers.create({"name": "Großkunde AG", "email": "ap@gross.example"})
    draft = client.invoices.create(
        {
            "customer": customer.id,
            "collection_method": "send_invoice",
            "days_until_due": 30,
            "auto_advance": False,
            "metadata": {"invoice": "7"},
        }
    )
    for cents in (123_456, 44):
        client.invoice_items.create(
            {
                "customer": customer.id,
                "invoice": draft.id,
                "amount": cents,
                "currency": "usd",
                "description": "Usage",
            }
        )
    closed = client.invoices.finalize_invoice(draft.id)
    assert (closed.status, closed.total, closed.amount_remaining) == ("open", 123_500, 123_500)
    assert closed.number is not None
    assert closed.due_date is not None
    assert closed.due_date - standin.control()["now"] > 29 * DAY
    client.invoices.send_invoice(draft.id)
    with pytest.raises(stripe.InvalidRequestError, match="only a draft"):
        client.invoices.finalize_invoice(draft.id)
    standin.control("/advance", days=31)
    heard = standin.deliver()
    assert heard[-3:] == ["invoice.finalized", "invoice.sent", "invoice.overdue"]
    assert closed.hosted_invoice_url is not None
    refused = standin.http.post(closed.hosted_invoice_url, data={"number": DECLINED})
    assert refused.status_code == 402
    assert "$1,235.00" in refused.text
    assert client.invoices.retrieve(draft.id).status == "open"
    standin.http.post(closed.hosted_invoice_url, data={"how": "transfer"})
    assert standin.deliver()[-2:] == ["invoice.paid", "invoice.payment_succeeded"]
    paid = standin.listener.last("invoice.paid")
    assert (paid.status, paid.amount_paid, paid.metadata["invoice"]) == ("paid", 123_500, "7")
    assert client.invoices.retrieve(draft.id).amount_remaining == 0


def test_shapes_hold_what_the_sdk_says_they_hold(standin: Standin) -> None:
    """Every field that the SDK's stub calls required is there, of every kind of object."""
    bought = subscribe(standin)
    schedule = standin.client.v1.subscription_schedules.create({"from_subscription": bought.id})
    invoice = standin.client.v1.invoices.retrieve(str(bought.latest_invoice))
    intent = standin.client.v1.payment_intents.list().data[0]
    charge = standin.client.v1.charges.retrieve(str(intent.latest_charge))
    refund = standin.client.v1.refunds.create({"payment_intent": intent.id, "amount": 1})
    dispute = standin.control("/disputes", charge=charge.id)
    items: list[Any] = [bought, schedule, invoice, invoice.lines.data[0], intent, charge, refund]
    items += [standin.client.v1.disputes.retrieve(dispute["id"]), item_of(bought)]
    items += [standin.client.v1.customers.retrieve(str(bought.customer))]
    items += [standin.client.v1.payment_methods.retrieve(str(bought.default_payment_method))]
    items += [standin.client.v1.checkout.sessions.list().data[0]]
    items += [standin.client.v1.events.list().data[0], item_of(bought).price]
    for found in items:
        hints = type(found).__annotations__
        needed = {
            name
            for name, hint in hints.items()
            if not re.search("Optional|NoneType|ClassVar", str(hint))
        }
        missing = {name for name in needed if name not in found}
        assert not missing, f"{found.object}: {missing}"


def test_a_deleted_customer_ends_their_subscriptions_and_time_goes_on(standin: Standin) -> None:
    bought = subscribe(standin)
    standin.client.v1.subscription_schedules.create({"from_subscription": bought.id})
    standin.client.v1.customers.delete(str(bought.customer))
    assert standin.client.v1.subscriptions.retrieve(bought.id).status == "canceled"
    standin.control("/advance", days=100)
    heard = standin.deliver()
    assert heard[-1] == "subscription_schedule.canceled"
    assert heard.count("invoice.paid") == 1
