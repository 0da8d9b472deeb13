"""Payment intents: money that is wanted, and how far its payment has come.

requires_payment_method -> requires_confirmation -> (requires_action) -> succeeded, or canceled.
A declined attempt leads back to requires_payment_method and leaves a failed charge behind.
"""

import copy
from typing import Any

from webapp.stripe_standin import charges, events, lists, payment_methods
from webapp.stripe_standin.cards import DECLINES, Decline
from webapp.stripe_standin.fields import (
    LISTING,
    Fields,
    allow,
    boolean,
    currency,
    metadata,
    needed_integer,
    text,
)
from webapp.stripe_standin.problems import CardProblem, StripeProblem
from webapp.stripe_standin.store import Object, Store, new_id

AMOUNT_MIN = 50  # cents; Stripe's own least for dollars and euros
KNOWN = (
    "amount",
    "currency",
    "customer",
    "payment_method",
    "payment_method_types",
    "automatic_payment_methods",
    "off_session",
    "confirm",
    "description",
    "metadata",
    "setup_future_usage",
    "receipt_email",
    "error_on_requires_action",
    "return_url",
    "statement_descriptor_suffix",
)
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(store: Store, fields: Fields) -> Object:
    """Want money; with `confirm`, try to take it at once (raises `CardProblem`)."""
    allow(fields, *KNOWN)
    amount = needed_integer(fields, "amount", least=AMOUNT_MIN)
    owner = text(fields, "customer")
    if owner is not None:
        store.find("customer", owner, param="customer")
    if "off_session" in fields and not boolean(fields, "confirm"):
        raise StripeProblem("off_session needs confirm=true.", param="off_session")
    intent = make(
        store,
        amount=amount,
        currency=currency(fields),
        customer=owner,
        description=text(fields, "description"),
        metadata=metadata(fields),
        receipt_email=text(fields, "receipt_email"),
        setup_future_usage=text(fields, "setup_future_usage"),
    )
    if "payment_method" in fields:
        method = payment_methods.resolve(store, str(fields["payment_method"]))
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    if boolean(fields, "confirm"):
        _confirm(store, intent, fields)
    return intent


def make(store: Store, **values: Any) -> Object:
    """Keep a new intent, without a card yet."""
    intent_id = new_id("pi")
    intent = store.add(
        "payment_intent",
        id=intent_id,
        amount_capturable=0,
        amount_received=0,
        automatic_payment_methods=None,
        canceled_at=None,
        cancellation_reason=None,
        capture_method="automatic_async",
        client_secret=f"{intent_id}_secret_{new_id('')[1:]}",
        confirmation_method="automatic",
        last_payment_error=None,
        latest_charge=None,
        next_action=None,
        payment_method=None,
        payment_method_options={"card": {"request_three_d_secure": "automatic"}},
        payment_method_types=["card"],
        processing=None,
        status="requires_payment_method",
        **{"receipt_email": None, "setup_future_usage": None, "description": None, **values},
    )
    events.emit(store, "payment_intent.created", intent)
    return intent


def retrieve(store: Store, fields: Fields, intent: str) -> Object:
    """Return one intent."""
    allow(fields, "client_secret")
    return store.find("payment_intent", intent)


def update(store: Store, fields: Fields, intent: str) -> Object:
    """Change what an open intent wants."""
    allow(fields, "amount", "description", "metadata", "payment_method", "receipt_email")
    found = _open(store, intent)
    if "amount" in fields:
        found["amount"] = needed_integer(fields, "amount", least=AMOUNT_MIN)
    if "payment_method" in fields:
        method = payment_methods.resolve(store, str(fields["payment_method"]))
        found |= {"payment_method": method["id"], "status": "requires_confirmation"}
    found |= {n: text(fields, n) for n in ("description", "receipt_email") if n in fields}
    found["metadata"] = metadata(fields, found["metadata"])
    return found


def confirm(store: Store, fields: Fields, intent: str) -> Object:
    """Try to take the money; raises `CardProblem` where the bank says no."""
    allow(fields, "payment_method", "off_session", "return_url", "error_on_requires_action")
    found = _open(store, intent)
    if "payment_method" in fields:
        found["payment_method"] = payment_methods.resolve(store, str(fields["payment_method"]))[
            "id"
        ]
    _confirm(store, found, fields)
    return found


def cancel(store: Store, fields: Fields, intent: str) -> Object:
    """Want the money no longer."""
    allow(fields, "cancellation_reason")
    found = _open(store, intent)
    found |= {
        "status": "canceled",
        "canceled_at": store.now(),
        "cancellation_reason": text(fields, "cancellation_reason"),
        "next_action": None,
    }
    events.emit(store, "payment_intent.canceled", found)
    return found


def index(store: Store, fields: Fields) -> Object:
    """List intents."""
    allow(fields, "customer", "created", *LISTING)
    rows = lists.matching(store.all("payment_intent"), fields, "customer")
    return lists.page(rows, fields, "/v1/payment_intents")


def attempt(
    store: Store, intent: Object, method: Object, *, off_session: bool, is_confirmed: bool = False
) -> None:
    """Try to take the money of `intent` from `method`.

    Ends as `succeeded`, or on the holder's side as `requires_action`; raises `CardProblem` with
    the failed charge kept. `is_confirmed`: the holder has just said yes to their bank.
    """
    card = payment_methods.behaviour(method)
    is_saved = method["customer"] is not None
    asks = card.is_confirmed_always or (card.is_confirmed_first and not is_saved)
    decline = card.decline or (card.later_decline if is_saved else None)
    if store.declines:
        decline = DECLINES[store.declines.pop(0)]
    elif asks and off_session:
        decline = DECLINES["authentication_required"]
    intent |= {"payment_method": method["id"], "next_action": None, "last_payment_error": None}
    if decline is not None:
        _fail(store, intent, method, decline)
    if asks and not is_confirmed:
        where = f"{store.url}/confirm/{intent['id']}"
        intent["next_action"] = {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": None, "url": where},
        }
        intent["status"] = "requires_action"
        events.emit(store, "payment_intent.requires_action", intent)
        return
    succeed(store, intent, method)


def succeed(store: Store, intent: Object, method: Object) -> None:
    """Take the money: a paid charge, and the card saved if the intent says so."""
    charge = charges.record(store, intent, method, None)
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "latest_charge": charge["id"],
        "next_action": None,
    }
    if intent["setup_future_usage"] and intent["customer"] and method["customer"] is None:
        method["customer"] = intent["customer"]
        events.emit(store, "payment_method.attached", method)
    events.emit(store, "payment_intent.succeeded", intent)


def _fail(store: Store, intent: Object, method: Object, decline: Decline) -> None:
    charge = charges.record(store, intent, method, decline)
    error = {
        "type": "card_error",
        "code": decline.code,
        "message": decline.message,
        "charge": charge["id"],
        "payment_method": copy.deepcopy(method),
    }
    if decline.decline_code is not None:
        error["decline_code"] = decline.decline_code
    intent |= {
        "status": "requires_payment_method",
        "latest_charge": charge["id"],
        "last_payment_error": error,
        "payment_method": None,
    }
    events.emit(store, "payment_intent.payment_failed", intent)
    raise CardProblem(
        decline.message,
        code=decline.code,
        decline_code=decline.decline_code,
        charge=charge["id"],
        payment_intent=copy.deepcopy(intent),
        payment_method=copy.deepcopy(method),
    )


def _confirm(store: Store, intent: Object, fields: Fields) -> None:
    if intent["payment_method"] is None:
        raise StripeProblem("A payment method is needed to confirm.", param="payment_method")
    method = store.find("payment_method", intent["payment_method"], param="payment_method")
    off_session = boolean(fields, "off_session")
    if method["customer"] not in (None, intent["customer"]):
        raise StripeProblem("The card belongs to another customer.", param="payment_method")
    if off_session and method["customer"] is None:
        raise StripeProblem(
            "A payment without its holder needs a saved card: attach it to the customer first.",
            param="payment_method",
        )
    must_not_ask = off_session or boolean(fields, "error_on_requires_action")
    attempt(store, intent, method, off_session=must_not_ask)


def _open(store: Store, intent: str) -> Object:
    found = store.find("payment_intent", intent)
    if found["status"] not in OPEN:
        raise StripeProblem(
            f"This PaymentIntent is {found['status']} and cannot change any more.",
            code="payment_intent_unexpected_state",
            param="intent",
        )
    return found
