"""Checkout sessions: a page that was asked for, what it sells, and how it ended.

`checkout_pages` is the page itself and calls `pay` and `complete`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from webapp.stripe_standin import (
    events,
    invoice_payments,
    lists,
    payment_intents,
    payment_methods,
    prices,
    setup_intents,
    subscription_bills,
    subscriptions,
)
from webapp.stripe_standin.cards import TestCard
from webapp.stripe_standin.fields import (
    LISTING,
    Fields,
    allow,
    choice,
    integer,
    metadata,
    required,
    rows,
    text,
    tree,
)
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Due, Object, Store, new_id

MODES = ("payment", "setup", "subscription")
LIFETIME_SECONDS_MIN = 30 * 60  # Stripe's own limits for a page that waits
LIFETIME_SECONDS_MAX = 24 * 3600
QUANTITY_MAX = 1_000_000
# mode -> the parameter that its intent or subscription is described by, and what that may hold
INTENT_FIELDS = {
    "payment": (
        "payment_intent_data",
        ("metadata", "setup_future_usage", "description", "receipt_email"),
    ),
    "setup": ("setup_intent_data", ("metadata", "description")),
    "subscription": ("subscription_data", ("metadata", "description")),
}
KNOWN = (
    "mode",
    "line_items",
    "customer",
    "customer_email",
    "customer_creation",
    "client_reference_id",
    "success_url",
    "cancel_url",
    "expires_at",
    "metadata",
    "payment_intent_data",
    "setup_intent_data",
    "subscription_data",
    "payment_method_types",
    "currency",
    "submit_type",
    "locale",
    "billing_address_collection",
    "payment_method_collection",
    "saved_payment_method_options",
)


def create(store: Store, fields: Fields) -> Object:
    """Open a page for a payment, for saving a card or for a subscription."""
    allow(fields, *KNOWN)
    mode = choice(fields, "mode", MODES)
    required(fields, "success_url")
    owner = text(fields, "customer")
    if owner is not None:
        store.find("customer", owner, param="customer")
    elif mode != "payment":
        raise StripeProblem("The stand-in saves cards of a customer alone.", param="customer")
    session_id = new_id("cs_test")
    items = [_item(store, row, session_id, mode) for row in rows(fields, "line_items")]
    if (mode == "setup") == bool(items):
        raise StripeProblem("line_items belong to what is sold.", param="line_items")
    if len({item["currency"] for item in items}) > 1:
        raise StripeProblem("All line_items need the same currency.", param="line_items")
    total = sum(item["amount_total"] for item in items) if items else None
    if mode == "payment" and (total or 0) < payment_intents.AMOUNT_MIN:
        raise StripeProblem(
            "The Checkout Session's total amount is too small: the least is $0.50.",
            code="amount_too_small",
        )
    session = store.add(
        "checkout.session",
        id=session_id,
        amount_subtotal=total,
        amount_total=total,
        cancel_url=text(fields, "cancel_url"),
        client_reference_id=text(fields, "client_reference_id"),
        currency=items[0]["currency"] if items else (text(fields, "currency") or "usd"),
        customer=owner,
        customer_email=text(fields, "customer_email"),
        customer_details=None,
        expires_at=_expiry(store, fields),
        metadata=metadata(fields),
        mode=mode,
        success_url=text(fields, "success_url"),
        url=f"{store.url}/checkout/{session_id}",
        **_fixed(mode),
    )
    store.objects[_asked(session_id)] = {
        "object": "asked",
        "fields": _intent_fields(fields, mode),
        "intent": None,  # made at the first attempt; a subscription's is not in its session
    }
    return session


def retrieve(store: Store, fields: Fields, session: str) -> Object:
    """Return one session."""
    allow(fields)
    return store.find("checkout.session", session)


def expire(store: Store, fields: Fields, session: str) -> Object:
    """Close a page that nobody has paid on."""
    allow(fields)
    found = opened(store, session)
    close(store, found)
    return found


def index(store: Store, fields: Fields) -> Object:
    """List sessions."""
    allow(fields, "customer", "payment_intent", "status", "subscription", "created", *LISTING)
    found = store.all("checkout.session")
    found = lists.matching(found, fields, "customer", "payment_intent", "status", "subscription")
    return lists.page(found, fields, "/v1/checkout/sessions")


def opened(store: Store, session: str) -> Object:
    """Return a session that can still be paid; raises `StripeProblem`."""
    found = store.find("checkout.session", session)
    if found["status"] != "open":
        raise StripeProblem(f"This Checkout Session is {found['status']}.", param="session")
    return found


def close(store: Store, session: Object) -> None:
    """Let a session's time run out."""
    session |= {"status": "expired", "url": None}
    events.emit(store, "checkout.session.expired", session)


def due(store: Store) -> Iterator[Due]:
    """Yield when each open page runs out, and the act."""
    for session in store.all("checkout.session"):
        if session["status"] == "open":
            yield session["expires_at"], partial(close, store, session)


def items_of(store: Store, session: Object) -> list[Object]:
    """Return what the page sells."""
    return [item for item in store.all("item") if item["session"] == session["id"]]


def by_intent(store: Store, intent: str) -> Object | None:
    """Return the session whose payment or setup an intent is."""
    for session in store.all("checkout.session"):
        if store.objects[_asked(session["id"])]["intent"] == intent:
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
    asked = store.objects[_asked(session["id"])]
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
    asked = store.objects[_asked(session["id"])]
    intent = store.find("payment_intent", asked["intent"])
    wanted = [
        (store.find("price", item["price"]), item["quantity"]) for item in items_of(store, session)
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


def _item(store: Store, row: Fields, session_id: str, mode: str) -> Object:
    allow(row, "price", "price_data", "quantity")
    quantity = integer(row, "quantity", least=1, most=QUANTITY_MAX)
    if quantity is None:
        raise StripeProblem("Quantity is required.", param="line_items[0][quantity]")
    if "price" in row:
        price = store.find("price", text(row, "price"), param="line_items[0][price]")
    else:
        price = prices.from_data(store, tree(row, "price_data"))
    if (price["recurring"] is not None) != (mode == "subscription"):
        raise StripeProblem(
            "A price by the period belongs to mode=subscription, and no other does.",
            param="line_items[0][price]",
        )
    amount = price["unit_amount"] * quantity
    return store.add(
        "item",
        amount_subtotal=amount,
        amount_total=amount,
        currency=price["currency"],
        description=store.find("product", price["product"])["name"],
        price=price["id"],
        quantity=quantity,
        session=session_id,
    )


def _intent_fields(fields: Fields, mode: str) -> Fields:
    """Return what the session's intent shall carry; checked when the page is asked for."""
    own = INTENT_FIELDS[mode][0]
    for name in {each for each, _ in INTENT_FIELDS.values()} - {own}:
        if name in fields:
            raise StripeProblem(f"{name} does not belong to mode={mode}.", param=name)
    asked = tree(fields, own)
    allow(asked, *INTENT_FIELDS[mode][1])
    metadata(asked)
    return asked


def _expiry(store: Store, fields: Fields) -> int:
    at = integer(fields, "expires_at", most=2**40)
    now = store.now()
    if at is None:
        return now + LIFETIME_SECONDS_MAX
    if not LIFETIME_SECONDS_MIN <= at - now <= LIFETIME_SECONDS_MAX:
        raise StripeProblem(
            "expires_at must be from 30 minutes to 24 hours from now.", param="expires_at"
        )
    return at


def _asked(session_id: str) -> str:
    return f"asked_{session_id}"


def _fixed(mode: str) -> dict[str, Any]:
    return {
        "allow_promotion_codes": None,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "billing_address_collection": None,
        "consent": None,
        "custom_fields": [],
        "custom_text": {"after_submit": None, "submit": None},
        "customer_creation": "if_required" if mode == "payment" else None,
        "invoice": None,
        "locale": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "setup_intent": None,
        "shipping_options": [],
        "status": "open",
        "subscription": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    }
