"""Paying on a Checkout page: the card is tried, the session ends, a subscription begins."""

from webapp.stripe_standin import (
    checkout,
    events,
    invoice_payments,
    payment_intents,
    payment_methods,
    setup_intents,
    subscription_bills,
    subscriptions,
)
from webapp.stripe_standin.cards import TestCard
from webapp.stripe_standin.fields import metadata, text
from webapp.stripe_standin.store import Object, Store


def by_intent(store: Store, intent: str) -> Object | None:
    """Return the session whose payment or setup an intent is."""
    for session in store.all("checkout.session"):
        if checkout.asked_of(store, session)["intent"] == intent:
            return session
    return None


def pay(store: Store, session: Object, card: TestCard) -> Object | None:
    """Try a card on the page.

    Return the intent whose holder has to confirm, or None where it is done; raises `CardProblem`.
    """
    method = payment_methods.make(store, card)
    intent = _intent(store, session)
    if session["mode"] == "setup":
        setup_intents.attempt(store, intent, method)
    else:
        payment_intents.attempt(store, intent, method, off_session=False)
    if intent["status"] == "requires_action":
        return intent
    complete(store, session)
    return None


def complete(store: Store, session: Object) -> None:
    """Finish a session whose intent has succeeded."""
    if session["mode"] == "subscription":
        _subscribe(store, session)
    owner = store.objects.get(session["customer"] or "", {})
    session |= {
        "status": "complete",
        "payment_status": "no_payment_required" if session["mode"] == "setup" else "paid",
        "url": None,
        "customer_details": {
            "address": None,
            "email": owner.get("email") or session["customer_email"],
            "name": owner.get("name"),
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
    }
    events.emit(store, "checkout.session.completed", session)


def _intent(store: Store, session: Object) -> Object:
    """Return the session's intent, made at the first attempt."""
    asked = checkout.asked_of(store, session)
    if asked["intent"] is not None:
        return store.objects[asked["intent"]]
    fields, mode = asked["fields"], session["mode"]
    is_subscription = mode == "subscription"
    if mode == "setup":
        intent = setup_intents.make(store, customer=session["customer"], metadata=metadata(fields))
        session["setup_intent"] = intent["id"]
    else:
        intent = payment_intents.make(
            store,
            amount=session["amount_total"],
            currency=session["currency"],
            customer=session["customer"],
            description="Subscription creation" if is_subscription else text(fields, "description"),
            metadata={} if is_subscription else metadata(fields),
            receipt_email=text(fields, "receipt_email"),
            setup_future_usage="off_session"
            if is_subscription
            else text(fields, "setup_future_usage"),
        )
        session["payment_intent"] = None if is_subscription else intent["id"]
    asked["intent"] = intent["id"]
    return intent


def _subscribe(store: Store, session: Object) -> None:
    """Begin the subscription whose first period has just been paid."""
    asked = checkout.asked_of(store, session)
    intent = store.find("payment_intent", asked["intent"])
    wanted = [
        (store.find("price", item["price"]), item["quantity"])
        for item in checkout.items_of(store, session)
    ]
    subscription = subscriptions.begin(
        store,
        store.find("customer", session["customer"]),
        wanted,
        metadata=metadata(asked["fields"]),
        description=text(asked["fields"], "description"),
        default_payment_method=intent["payment_method"],
    )
    invoice = subscription_bills.first(store, subscription)
    invoice_payments.record(store, invoice, intent)
    session |= {"subscription": subscription["id"], "invoice": invoice["id"]}
