"""Fewer seats from the next period on: what the provider has planned for a subscription.

Writes the pending number into `seat_subscription`, through the rows of
`licensing.payments.subscriptions`. Revoking a seat changes nothing here, and this takes no seat
from anybody: a reduction is refused below what is taken, now and at the end of the period.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from licensing.payments import subscriptions
from licensing.payments.bill_tables import SeatSubscription
from licensing.payments.payloads import Payload, id_of, inner, text_of, time_of

OVER = frozenset({"released", "canceled", "completed"})


def told(session: Session, payload: Payload, at: datetime) -> uuid.UUID:
    """The provider said what is planned; where the order is unclear it is asked again."""
    named = id_of(payload, "subscription") or id_of(payload, "released_subscription")
    row = subscriptions.find(session, named)
    if at <= row.as_of:
        row.needs_reading = row.status not in subscriptions.ENDED
        if at < row.as_of:
            return row.organisation_id
    write(row, payload)
    row.as_of = at
    return row.organisation_id


def write(row: SeatSubscription, payload: Payload) -> None:
    """Keep a schedule's next step on the subscription's row."""
    row.pending_quantity = row.pending_at = None
    if text_of(payload, "status") in OVER:
        row.schedule_id = None
        return
    row.schedule_id = text_of(payload, "id")
    now_ends = time_of(inner(payload, "current_phase"), "end_date")
    for phase in payload.get("phases") or ():
        starts = time_of(phase, "start_date")
        if now_ends is None or starts is None or starts < now_ends:
            continue
        items = phase.get("items") or ()
        if items and isinstance(items[0], Mapping) and items[0].get("quantity") != row.quantity:
            row.pending_quantity, row.pending_at = items[0].get("quantity"), starts
        return
