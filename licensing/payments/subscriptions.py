"""Seats that are paid for: what the provider last said, and the seats that follow from it.

Owns `seat_subscription`. What must hold: an organisation's plan and ceiling follow the provider's
messages and nothing else; nobody loses a seat by one (the ceiling stops at what is taken). Messages
bear the second in which they were made: an older one changes nothing, and where two cannot be put
in order the provider is asked how it stands now (`needs_reading`).
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from licensing import plans, seats
from licensing.errors import NotFound
from licensing.payments import cards, notices
from licensing.payments.bill_tables import SeatSubscription
from licensing.payments.payloads import (
    ORGANISATION_KEY,
    TIER_KEY,
    Mismatch,
    NotOurs,
    Payload,
    id_of,
    inner,
    metadata_id,
    text_of,
    time_of,
)

ENDED = frozenset({"canceled", "incomplete_expired"})
PAYING = frozenset({"active", "trialing", "past_due"})
UNPAID = frozenset({"past_due", "unpaid"})


def told(session: Session, payload: Payload, at: datetime) -> uuid.UUID:
    """The provider said how a subscription stands, at that second."""
    organisation_id = _owner(session, payload)
    known = _lock(session, text_of(payload, "id"))
    if known is not None and at <= known.as_of:
        known.needs_reading = known.status not in ENDED
        if at < known.as_of or known.status in ENDED:
            return organisation_id
    _write(session, organisation_id, known, payload, at)
    return organisation_id


def read(session: Session, payload: Payload, at: datetime) -> None:
    """Take what the provider answers now as how it stands."""
    organisation_id = _owner(session, payload)
    known = _lock(session, text_of(payload, "id"))
    row = _write(session, organisation_id, known, payload, at)
    row.needs_reading = False


def live(session: Session, organisation_id: uuid.UUID) -> SeatSubscription | None:
    """The subscription that an organisation has now, if it has one."""
    query = select(SeatSubscription).where(
        SeatSubscription.organisation_id == organisation_id,
        SeatSubscription.status.not_in(ENDED),
    )
    return session.scalars(query).one_or_none()


def require_live(session: Session, organisation_id: uuid.UUID) -> SeatSubscription:
    """The same, or `NotFound`."""
    found = live(session, organisation_id)
    if found is None:
        raise NotFound("There is no seat subscription yet.")
    return found


def to_read(session: Session) -> list[str]:
    """Subscriptions about which the provider has to be asked, by lot: none is always behind."""
    query = select(SeatSubscription.subscription_id).where(SeatSubscription.needs_reading)
    return list(session.scalars(query.order_by(func.random())))


def find(session: Session, subscription_id: str | None) -> SeatSubscription:
    """Lock a subscription by the provider's name; raises `NotOurs`."""
    row = _lock(session, subscription_id or "")
    if row is None:
        raise NotOurs(f"No subscription here is {subscription_id}.")
    return row


def _owner(session: Session, payload: Payload) -> uuid.UUID:
    if not inner(payload, "metadata").get(TIER_KEY):
        raise NotOurs("This subscription is not for seats.")
    organisation_id = cards.organisation_of(session, id_of(payload, "customer"))
    if metadata_id(payload, ORGANISATION_KEY) != organisation_id:
        raise Mismatch("The message names another organisation than the customer's.")
    return organisation_id


def _write(
    session: Session,
    organisation_id: uuid.UUID,
    known: SeatSubscription | None,
    payload: Payload,
    at: datetime,
) -> SeatSubscription:
    item = _item(payload)
    quantity = item.get("quantity")
    if type(quantity) is not int:
        raise Mismatch("The subscription does not say how many seats.")
    other = live(session, organisation_id)
    if known is None and other is not None and payload.get("status") not in ENDED:
        raise Mismatch(
            f"Seats are paid for by {other.subscription_id} already: cancel one of the two."
        )
    row = known or SeatSubscription(
        subscription_id=text_of(payload, "id"),
        organisation_id=organisation_id,
        needs_reading=False,
    )
    row.item_id, row.quantity = text_of(item, "id"), quantity
    row.price_id = id_of(item, "price") or ""
    row.tier = text_of(inner(payload, "metadata"), TIER_KEY)
    row.status = text_of(payload, "status")
    row.schedule_id = id_of(payload, "schedule")
    if row.schedule_id is None or row.pending_quantity == quantity:
        row.pending_quantity = row.pending_at = None
    ends = time_of(item, "current_period_end") or time_of(payload, "current_period_end")
    if ends is None:
        raise Mismatch("The subscription does not say when its period ends.")
    row.period_end = ends
    row.is_ending = (
        bool(payload.get("cancel_at_period_end")) or payload.get("cancel_at") is not None
    )
    row.as_of = at
    session.add(row)
    session.flush()
    _follow(session, row)
    return row


def _follow(session: Session, row: SeatSubscription) -> None:
    """Bring the organisation's plan and ceiling in line with what is paid for."""
    words = f"seat subscription {row.subscription_id}"
    if row.status in PAYING:
        organisation = seats.lock(session, row.organisation_id)
        if organisation.tier != row.tier:
            taken = seats.seat_usage(session, row.organisation_id).taken
            wanted = max(row.quantity, taken)
            plans.change_tier(session, row.organisation_id, row.tier, ceiling=wanted, detail=words)
        else:
            plans.set_ceiling(
                session, row.organisation_id, row.quantity, detail=words, keep_taken=True
            )
    elif row.status in ENDED and live(session, row.organisation_id) is None:
        plans.set_ceiling(session, row.organisation_id, 1, detail=f"{words} ended", keep_taken=True)
    if row.status in UNPAID:
        sentence = "The seats could not be paid for. Look at the invoice and the saved card."
        notices.show(session, row.organisation_id, "seats_unpaid", sentence)
    else:
        notices.clear(session, row.organisation_id, "seats_unpaid")


def _item(payload: Payload) -> Payload:
    items: Any = inner(payload, "items").get("data")
    if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], Mapping):
        raise Mismatch("A seat subscription has one item: the seats.")
    return items[0]


def _lock(session: Session, subscription_id: str) -> SeatSubscription | None:
    return session.get(
        SeatSubscription, subscription_id, with_for_update=True, populate_existing=True
    )
