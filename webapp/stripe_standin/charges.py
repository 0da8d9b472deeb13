"""Charges: each attempt to take money from a card, the failed ones too."""

from typing import Any

from webapp.stripe_standin import events, lists
from webapp.stripe_standin.cards import Decline
from webapp.stripe_standin.fields import LISTING, Fields, allow
from webapp.stripe_standin.store import Object, Store

DESCRIPTOR = "ATELIER STAND-IN"


def record(store: Store, intent: Object, method: Object, decline: Decline | None) -> Object:
    """Keep an attempt for `intent`: paid, or declined by the bank."""
    is_paid = decline is None
    charge = store.add(
        "charge",
        amount=intent["amount"],
        amount_captured=intent["amount"] if is_paid else 0,
        amount_refunded=0,
        balance_transaction=None,
        billing_details=method["billing_details"],
        calculated_statement_descriptor=DESCRIPTOR,
        captured=is_paid,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_code=decline.code if decline else None,
        failure_message=decline.message if decline else None,
        fraud_details={},
        metadata=dict(intent["metadata"]),
        outcome=_outcome(decline),
        paid=is_paid,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details={"type": "card", "card": {**method["card"], "three_d_secure": None}},
        receipt_email=intent["receipt_email"],
        receipt_number=None,
        receipt_url=None,
        refunded=False,
        refunds=None,
        status="succeeded" if is_paid else "failed",
    )
    if is_paid:
        charge["receipt_url"] = f"{store.url}/receipts/{charge['id']}"
        charge["balance_transaction"] = book(store, charge, charge["amount"], "charge")["id"]
    events.emit(store, "charge.succeeded" if is_paid else "charge.failed", charge)
    return charge


def book(store: Store, source: Object, amount: int, kind: str) -> Object:
    """Keep a line of Stripe's own account with us; the stand-in takes no fee."""
    return store.add(
        "balance_transaction",
        amount=amount,
        available_on=store.now(),
        currency=source["currency"],
        fee=0,
        fee_details=[],
        net=amount,
        reporting_category=kind,
        source=source["id"],
        status="available",
        type=kind,
    )


def retrieve(store: Store, fields: Fields, charge: str) -> Object:
    """Return one charge."""
    allow(fields)
    return store.find("charge", charge)


def index(store: Store, fields: Fields) -> Object:
    """List charges."""
    allow(fields, "customer", "payment_intent", "created", *LISTING)
    rows = lists.matching(store.all("charge"), fields, "customer", "payment_intent")
    return lists.page(rows, fields, "/v1/charges")


def _outcome(decline: Decline | None) -> dict[str, Any]:
    return {
        "network_status": "declined_by_network" if decline else "approved_by_network",
        "reason": (decline.decline_code or decline.code) if decline else None,
        "risk_level": "normal",
        "seller_message": decline.message if decline else "Payment complete.",
        "type": "issuer_declined" if decline else "authorized",
    }
