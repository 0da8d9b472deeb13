"""Payment methods: cards, of which the last four digits are kept, and whose they are."""

from datetime import UTC, datetime

from webapp.stripe_standin import cards, events, lists
from webapp.stripe_standin.cards import TestCard
from webapp.stripe_standin.fields import (
    LISTING,
    Fields,
    allow,
    choice,
    metadata,
    required,
    text,
    tree,
)
from webapp.stripe_standin.problems import CardProblem, StripeProblem
from webapp.stripe_standin.store import Object, Store

EXPIRY_YEARS = 4  # how long a card made from a ready-made token lasts


def create(store: Store, fields: Fields) -> Object:
    """Make a card from a test number or a ready-made token; it is nobody's yet."""
    allow(fields, "type", "card", "billing_details", "metadata")
    choice(fields, "type", ("card",))
    given = tree(fields, "card")
    number = text(given, "number")
    card = cards.by_number(number) if number else cards.by_token(text(given, "token") or "")
    if card is None:
        raise StripeProblem("The stand-in knows its test cards alone.", param="card")
    return make(store, card, fields=fields)


def make(store: Store, card: TestCard, *, fields: Fields | None = None) -> Object:
    """Keep what Stripe keeps of a card."""
    year = datetime.fromtimestamp(store.now(), UTC).year + EXPIRY_YEARS
    return store.add(
        "payment_method",
        allow_redisplay="unspecified",
        billing_details={"address": None, "email": None, "name": None, "phone": None},
        card={
            "brand": card.brand,
            "checks": {"cvc_check": "pass"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": year,
            "fingerprint": f"standin{card.last4}",
            "funding": "credit",
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        customer=None,
        metadata=metadata(fields or {}),
        type="card",
    )


def resolve(store: Store, given: str, *, param: str = "payment_method") -> Object:
    """Return the card that an id names; a ready-made test token makes a new one."""
    card = cards.by_token(given)
    return (
        make(store, card) if card is not None else store.find("payment_method", given, param=param)
    )


def behaviour(method: Object) -> TestCard:
    """Return how the bank behind a stored card behaves."""
    return cards.by_last4(method["card"]["last4"])


def retrieve(store: Store, fields: Fields, payment_method: str) -> Object:
    """Return one card."""
    allow(fields)
    return store.find("payment_method", payment_method)


def attach(store: Store, fields: Fields, payment_method: str) -> Object:
    """Keep a card for a customer; its bank may refuse."""
    allow(fields, "customer")
    required(fields, "customer")
    method = resolve(store, payment_method)
    return attach_to(store, method, str(fields["customer"]))


def attach_to(store: Store, method: Object, customer: str) -> Object:
    """Keep `method` for a customer; raises `CardProblem` where the bank refuses."""
    store.find("customer", customer, param="customer")
    refusal = behaviour(method).decline
    if refusal is not None:
        raise CardProblem(refusal.message, code=refusal.code, decline_code=refusal.decline_code)
    if method["customer"] not in (None, customer):
        raise StripeProblem("This card belongs to another customer.", param="customer")
    if method["customer"] is None:
        method["customer"] = customer
        events.emit(store, "payment_method.attached", method)
    return method


def detach(store: Store, fields: Fields, payment_method: str) -> Object:
    """Forget whose a card is; it cannot be charged any more."""
    allow(fields)
    method = store.find("payment_method", payment_method)
    owner = method["customer"]
    if owner is None:
        raise StripeProblem("This card is not attached to a customer.", param="payment_method")
    method["customer"] = None
    settings = store.find("customer", owner)["invoice_settings"]
    if settings["default_payment_method"] == payment_method:
        settings["default_payment_method"] = None
    events.emit(store, "payment_method.detached", method, {"customer": owner})
    return method


def index(store: Store, fields: Fields, customer: str | None = None) -> Object:
    """List a customer's cards."""
    allow(fields, "customer", "type", "allow_redisplay", *LISTING)
    whose = customer or text(fields, "customer")
    rows = [row for row in store.all("payment_method") if row["customer"] == whose and whose]
    url = f"/v1/customers/{customer}/payment_methods" if customer else "/v1/payment_methods"
    return lists.page(rows, fields, url)
