"""Checkout sessions: a page that was asked for, what it sells, and how it ended.

`checkout_pages` is the page itself, `checkout_payments` what happens when somebody pays on it.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from webapp.stripe_standin import (
    events,
    lists,
    payment_intents,
    prices,
)
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
    store.objects[asked_key(session_id)] = {
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


def asked_of(store: Store, session: Object) -> Object:
    """Return what a session's intent shall carry, and the intent, once there is one."""
    return store.objects[asked_key(session["id"])]


def asked_key(session_id: str) -> str:
    """Return where that is kept."""
    return f"asked_{session_id}"


def items_of(store: Store, session: Object) -> list[Object]:
    """Return what the page sells."""
    return [item for item in store.all("item") if item["session"] == session["id"]]


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
