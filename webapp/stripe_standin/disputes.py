"""Disputes: a payer's bank takes a payment back, or asks about it; then it is won or lost.

At the opening Stripe takes the money from our account; a dispute that is won brings it back. An
inquiry only asks, takes nothing, and may become a dispute.
"""

from collections.abc import Iterator
from functools import partial

from webapp.stripe_standin import charges, events, lists, payment_methods
from webapp.stripe_standin.fields import LISTING, Fields, allow
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Due, Object, Store

DAY_SECONDS = 24 * 3600
ANSWER_DAYS = 7  # until when evidence is taken
OPEN = ("needs_response", "under_review")
INQUIRY = "warning_needs_response"
INQUIRY_CLOSED = "warning_closed"


def open_dispute(store: Store, charge: Object, *, is_inquiry: bool = False) -> Object:
    """Let a charge's payer dispute it, once, or first only ask."""
    if charge["status"] != "succeeded" or charge["disputed"]:
        raise StripeProblem("Only a paid charge can be disputed, once.", param="charge")
    dispute = store.add(
        "dispute",
        amount=charge["amount"] - charge["amount_refunded"],
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence={},
        evidence_details={
            "due_by": store.now() + ANSWER_DAYS * DAY_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        is_charge_refundable=is_inquiry,
        metadata={},
        network_reason_code="10.4",
        payment_intent=charge["payment_intent"],
        payment_method_details={
            "type": "card",
            "card": {"brand": "visa", "case_type": "inquiry" if is_inquiry else "chargeback"},
        },
        reason="fraudulent",
        status=INQUIRY if is_inquiry else "needs_response",
    )
    charge["disputed"] = True
    events.emit(store, "charge.dispute.created", dispute)
    if not is_inquiry:
        _move(store, dispute, -dispute["amount"], "charge.dispute.funds_withdrawn")
    return dispute


def escalate(store: Store, dispute: Object) -> None:
    """Let an inquiry become a dispute: now the money goes."""
    if dispute["status"] != INQUIRY:
        raise StripeProblem("Only an inquiry can become a dispute.", param="dispute")
    dispute |= {"status": "needs_response", "is_charge_refundable": False}
    events.emit(store, "charge.dispute.updated", dispute, {"status": INQUIRY})
    _move(store, dispute, -dispute["amount"], "charge.dispute.funds_withdrawn")


def close(store: Store, dispute: Object, *, is_won: bool) -> None:
    """Let the bank decide; an inquiry just ends."""
    if dispute["status"] == INQUIRY:
        dispute["status"] = INQUIRY_CLOSED
    elif dispute["status"] in OPEN:
        dispute["status"] = "won" if is_won else "lost"
    else:
        raise StripeProblem(f"Dispute {dispute['id']} is {dispute['status']}.", param="dispute")
    events.emit(store, "charge.dispute.closed", dispute)
    if dispute["status"] == "won":
        _move(store, dispute, dispute["amount"], "charge.dispute.funds_reinstated")


def due(store: Store) -> Iterator[Due]:
    """Yield when each payment is disputed whose card's holder does so, and the act."""
    for charge in store.all("charge"):
        if charge["status"] != "succeeded" or charge["disputed"] or charge["refunded"]:
            continue
        method = store.find("payment_method", charge["payment_method"])
        if payment_methods.behaviour(method).is_disputed:
            yield charge["created"] + DAY_SECONDS, partial(open_dispute, store, charge)


def retrieve(store: Store, fields: Fields, dispute: str) -> Object:
    """Return one dispute."""
    allow(fields)
    return store.find("dispute", dispute)


def index(store: Store, fields: Fields) -> Object:
    """List disputes."""
    allow(fields, "charge", "payment_intent", "created", *LISTING)
    rows = lists.matching(store.all("dispute"), fields, "charge", "payment_intent")
    return lists.page(rows, fields, "/v1/disputes")


def _move(store: Store, dispute: Object, amount: int, event_type: str) -> None:
    kind = "dispute" if amount < 0 else "dispute_reversal"
    dispute["balance_transactions"].append(charges.book(store, dispute, amount, kind))
    events.emit(store, event_type, dispute)
