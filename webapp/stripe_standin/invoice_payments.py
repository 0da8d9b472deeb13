"""Paying invoices: by the saved card, by a card on the invoice's page, or by bank transfer."""

from collections.abc import Iterator
from functools import partial

from webapp.stripe_standin import events, lists, payment_intents, payment_methods
from webapp.stripe_standin.fields import LISTING, Fields, allow
from webapp.stripe_standin.problems import CardProblem, StripeProblem
from webapp.stripe_standin.store import Due, Object, Store

DAY_SECONDS = 24 * 3600
RETRY_DAYS = 3  # between the attempts of a card that was declined
ATTEMPTS_MAX = 4  # then the subscription ends


def take(store: Store, invoice: Object, payment_method: str | None = None) -> None:
    """Take an open invoice's money from a card; raises `CardProblem`, then it stays open."""
    method = _method(store, invoice, payment_method)
    intent = payment_intents.make(
        store,
        amount=invoice["amount_remaining"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        description=f"Invoice {invoice['number']}",
        metadata={},
    )
    is_saved = method["customer"] is not None
    try:
        payment_intents.attempt(
            store, intent, method, off_session=is_saved, is_confirmed=not is_saved
        )
    except CardProblem:
        _fail(store, invoice)
        raise
    record(store, invoice, intent)


def try_to_take(store: Store, invoice: Object) -> bool:
    """Take an open invoice's money from the saved card; False if that cannot be done now."""
    try:
        take(store, invoice)
    except CardProblem:
        return False
    except StripeProblem:  # there is no card
        _fail(store, invoice)
        return False
    return True


def record(store: Store, invoice: Object, intent: Object) -> None:
    """Note that an intent has paid an invoice."""
    now = store.now()
    store.add(
        "invoice_payment",
        amount_paid=intent["amount"],
        amount_requested=intent["amount"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        is_default=True,
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
        status="paid",
        status_transitions={"canceled_at": None, "paid_at": now},
    )
    invoice |= {
        "amount_paid": invoice["amount_paid"] + intent["amount"],
        "amount_remaining": 0,
    }
    mark_paid(store, invoice)


def note(store: Store, invoice: Object) -> None:
    """Note that an invoice was paid elsewhere, by a bank transfer for example."""
    invoice |= {"amount_paid": invoice["amount_due"], "amount_remaining": 0}
    mark_paid(store, invoice)


def mark_paid(store: Store, invoice: Object) -> None:
    """Turn an invoice whose money is there into a paid one."""
    invoice |= {"status": "paid", "next_payment_attempt": None, "attempted": True}
    invoice["status_transitions"]["paid_at"] = store.now()
    events.emit(store, "invoice.paid", invoice)
    events.emit(store, "invoice.payment_succeeded", invoice)
    _activate(store, invoice)


def retry_due(store: Store) -> Iterator[Due]:
    """Yield when each declined invoice is tried again, and the act."""
    for invoice in store.all("invoice"):
        if invoice["status"] == "open" and invoice["next_payment_attempt"]:
            yield invoice["next_payment_attempt"], partial(_retry, store, invoice)


def index(store: Store, fields: Fields) -> Object:
    """List what paid an invoice."""
    allow(fields, "invoice", "status", *LISTING)
    rows = lists.matching(store.all("invoice_payment"), fields, "invoice", "status")
    return lists.page(rows, fields, "/v1/invoice_payments")


def _retry(store: Store, invoice: Object) -> None:
    if not try_to_take(store, invoice) and invoice["next_payment_attempt"] is None:
        subscription = _subscription(store, invoice)
        if subscription is not None and subscription["status"] == "past_due":
            now = store.now()
            subscription |= {"status": "canceled", "canceled_at": now, "ended_at": now}
            events.emit(store, "customer.subscription.deleted", subscription)


def _fail(store: Store, invoice: Object) -> None:
    count = invoice["attempt_count"] + 1
    is_automatic = invoice["collection_method"] == "charge_automatically"
    again = store.now() + RETRY_DAYS * DAY_SECONDS
    invoice |= {
        "attempted": True,
        "attempt_count": count,
        "next_payment_attempt": again if is_automatic and count < ATTEMPTS_MAX else None,
    }
    events.emit(store, "invoice.payment_failed", invoice)


def _activate(store: Store, invoice: Object) -> None:
    """Let a subscription count again whose invoice is paid now."""
    subscription = _subscription(store, invoice)
    if subscription is not None and subscription["status"] in ("incomplete", "past_due"):
        before = subscription["status"]
        subscription["status"] = "active"
        events.emit(store, "customer.subscription.updated", subscription, {"status": before})


def _subscription(store: Store, invoice: Object) -> Object | None:
    parent = invoice["parent"]
    return store.objects.get(parent["subscription_details"]["subscription"]) if parent else None


def _method(store: Store, invoice: Object, given: str | None) -> Object:
    if given is not None:
        return payment_methods.resolve(store, given)
    customer = store.find("customer", invoice["customer"])
    saved = invoice["default_payment_method"]
    saved = saved or customer["invoice_settings"]["default_payment_method"]
    if saved is None or store.find("payment_method", saved)["customer"] is None:
        raise StripeProblem(
            "This customer has no card to take the money from: save one, or pay on the "
            "invoice's page.",
            code="resource_missing",
        )
    return store.find("payment_method", saved)
