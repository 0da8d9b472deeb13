"""Refunds: money on its way back to the card, at most what was paid."""

from webapp.stripe_standin import charges, events, lists
from webapp.stripe_standin.fields import LISTING, Fields, allow, integer, metadata, text
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, Store


def create(store: Store, fields: Fields) -> Object:
    """Send back a part of a charge, or all that is left of it."""
    allow(fields, "payment_intent", "charge", "amount", "reason", "metadata")
    charge = _charge(store, fields)
    left = charge["amount_captured"] - charge["amount_refunded"]
    if left == 0:
        raise StripeProblem(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if charge["disputed"]:
        raise StripeProblem(f"Charge {charge['id']} has been charged back.", code="charge_disputed")
    amount = integer(fields, "amount", least=1) or left
    if amount > left:
        raise StripeProblem(
            f"Refund amount ({amount}) is greater than what is left of the charge ({left}).",
            param="amount",
        )
    refund = store.add(
        "refund",
        amount=amount,
        balance_transaction=None,
        charge=charge["id"],
        currency=charge["currency"],
        destination_details={"type": "card", "card": {"type": "refund"}},
        metadata=metadata(fields),
        payment_intent=charge["payment_intent"],
        reason=text(fields, "reason"),
        receipt_number=None,
        source_transfer_reversal=None,
        status="succeeded",
        transfer_reversal=None,
    )
    refund["balance_transaction"] = charges.book(store, refund, -amount, "refund")["id"]
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    events.emit(store, "refund.created", refund)
    events.emit(store, "charge.refunded", charge)
    return refund


def fail(store: Store, refund: Object) -> None:
    """Let the bank send a refund back, as happens when a card is closed; once."""
    if refund["status"] != "succeeded":
        raise StripeProblem(f"Refund {refund['id']} is {refund['status']}.")
    charge = store.find("charge", refund["charge"])
    refund |= {
        "status": "failed",
        "failure_reason": "expired_or_canceled_card",
        "failure_balance_transaction": charges.book(
            store, refund, refund["amount"], "refund_failure"
        )["id"],
    }
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    events.emit(store, "refund.failed", refund)


def retrieve(store: Store, fields: Fields, refund: str) -> Object:
    """Return one refund."""
    allow(fields)
    return store.find("refund", refund)


def index(store: Store, fields: Fields) -> Object:
    """List refunds."""
    allow(fields, "charge", "payment_intent", "created", *LISTING)
    rows = lists.matching(store.all("refund"), fields, "charge", "payment_intent")
    return lists.page(rows, fields, "/v1/refunds")


def _charge(store: Store, fields: Fields) -> Object:
    if "charge" in fields:
        charge = store.find("charge", text(fields, "charge"), param="charge")
    else:
        intent = store.find(
            "payment_intent", text(fields, "payment_intent"), param="payment_intent"
        )
        charge = store.find("charge", intent["latest_charge"], param="payment_intent")
    if charge["status"] != "succeeded":
        raise StripeProblem("Only a payment that succeeded can be refunded.", param="charge")
    return charge
