"""What follows from each kind of message: one table from the provider's words to our verbs.

What must hold: a verb and the mark `applied` are one transaction; a verb that meets its messages
late, twice or the wrong way round leaves the same rows.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from licensing.db import now
from licensing.payments import (
    cards,
    disputes,
    events,
    invoices,
    receipts,
    refunds,
    schedules,
    subscriptions,
)
from licensing.payments.payloads import NotOurs, Payload, inner
from licensing.payments.tables import PaymentEvent


def apply(session: Session, event_id: str, *, again: bool = False) -> str:
    """Act on a recorded message unless that was done; return its status.

    `again` also takes up what was ignored. Raises what its handler raises; the caller rolls back
    and writes it down with `events.fail`. Raises `NotFound` for an unknown id.
    """
    event = events.lock(session, event_id)
    if event.status == "applied" or (event.status == "ignored" and not again):
        return event.status
    try:
        event.organisation_id = _act(session, event)
        event.status, event.error = "applied", None
    except NotOurs as reason:
        event.status, event.error = "ignored", reason.message
    event.attempts += 1
    event.applied_at = now()
    return event.status


def _act(session: Session, event: PaymentEvent) -> uuid.UUID:
    handler = HANDLERS.get(event.type)
    if handler is None:
        raise NotOurs("Nothing here follows from events of this type.")
    data = event.payload.get("data")
    told = Told(
        created=event.created,
        payload=inner(data or {}, "object"),
        before=inner(data or {}, "previous_attributes"),
    )
    return handler(session, told)


@dataclass(frozen=True)
class Told:
    """One message as its handler sees it. Handlers return the organisation that it is about."""

    created: datetime
    payload: Payload  # the object that the message is about
    before: Payload  # what a change has replaced


Handler = Callable[[Session, Told], uuid.UUID]

HANDLERS: dict[str, Handler] = {
    "checkout.session.completed": lambda s, t: receipts.session_ended(s, t.payload),
    "checkout.session.async_payment_succeeded": lambda s, t: receipts.session_ended(s, t.payload),
    "checkout.session.async_payment_failed": lambda s, t: receipts.session_failed(s, t.payload),
    "checkout.session.expired": lambda s, t: receipts.session_expired(s, t.payload),
    "payment_intent.succeeded": lambda s, t: receipts.intent_succeeded(s, t.payload),
    "payment_intent.payment_failed": lambda s, t: receipts.intent_failed(s, t.payload),
    "payment_intent.canceled": lambda s, t: receipts.intent_failed(s, t.payload),
    "charge.succeeded": lambda s, t: receipts.charge_told(s, t.payload),
    "charge.updated": lambda s, t: receipts.charge_told(s, t.payload),
    "payment_method.attached": lambda s, t: cards.attached(s, t.payload, t.created),
    "payment_method.updated": lambda s, t: cards.attached(s, t.payload, t.created),
    "payment_method.detached": lambda s, t: cards.detached(s, t.payload, t.before, t.created),
    "invoice_payment.paid": lambda s, t: receipts.invoice_paid(s, t.payload),
    "refund.created": lambda s, t: refunds.told(s, t.payload),
    "refund.updated": lambda s, t: refunds.told(s, t.payload),
    "refund.failed": lambda s, t: refunds.told(s, t.payload),
    "charge.dispute.created": lambda s, t: disputes.told(s, t.payload, t.created),
    "charge.dispute.updated": lambda s, t: disputes.told(s, t.payload, t.created),
    "charge.dispute.closed": lambda s, t: disputes.told(s, t.payload, t.created),
    **{
        f"customer.subscription.{change}": lambda s, t: subscriptions.told(s, t.payload, t.created)
        for change in ("created", "updated", "deleted", "paused", "resumed")
    },
    **{
        f"subscription_schedule.{change}": lambda s, t: schedules.told(s, t.payload, t.created)
        for change in ("created", "updated", "released", "canceled", "completed", "aborted")
    },
    **{
        f"invoice.{change}": lambda s, t: invoices.told(s, t.payload)
        for change in (
            "finalized",
            "sent",
            "paid",
            "payment_failed",
            "voided",
            "marked_uncollectible",
            "overdue",
        )
    },
}
