"""The provider's messages as rows: recorded once verified, applied once, in whatever order.

Owns `payment_event`. A message is written before anything acts on it (`licensing.payments.apply`).
What fails keeps its reason and is tried again, by itself for a while, and by `atelier payments
replay` at any time.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from licensing.db import now
from licensing.errors import NotFound
from licensing.payments.payloads import Mismatch, Payload
from licensing.payments.tables import PaymentEvent

ATTEMPTS_MAX = 12  # by itself; the pauses between them double, and end after about half a day
FIRST_PAUSE_SECONDS = 10
ERROR_CHARACTERS_MAX = 500
AT_ONCE_MAX = 100  # events that one round applies; the next one follows in seconds
REPLAY_MAX = 10_000  # what one command takes up
# A refund or dispute may be told before the payment that it is about.
EARLY = timedelta(hours=1)
ABOUT_PAYMENTS = ("refund.", "charge.", "invoice_payment.")
RECHECKS_MAX = 4


def record(session: Session, event: Payload) -> bool:
    """Write a verified message down; False if it was there already. Raises `Mismatch`."""
    created = event.get("created")
    if not (isinstance(event.get("id"), str) and isinstance(event.get("type"), str)):
        raise Mismatch("The provider's message has no id or no type.")
    if type(created) is not int:
        raise Mismatch("The provider's message does not say when it was made.")
    values = {
        "id": event["id"],
        "type": event["type"],
        "created": datetime.fromtimestamp(created, UTC),
        "payload": dict(event),
        "status": "received",
        "attempts": 0,
        "received_at": now(),
    }
    written = session.scalars(
        insert(PaymentEvent)
        .values(values)
        .on_conflict_do_nothing(index_elements=[PaymentEvent.id])
        .returning(PaymentEvent.id)
    ).one_or_none()
    return written is not None


def lock(session: Session, event_id: str) -> PaymentEvent:
    """Take one message for this transaction; raises `NotFound`."""
    query = select(PaymentEvent).where(PaymentEvent.id == event_id).with_for_update()
    event = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if event is None:
        raise NotFound(f"There is no event {event_id}.")
    return event


def fail(session: Session, event_id: str, error: str) -> None:
    """Keep why a message could not be applied; another process may have done it meanwhile."""
    session.execute(
        update(PaymentEvent)
        .where(PaymentEvent.id == event_id, PaymentEvent.status.in_(("received", "failed")))
        .values(
            status="failed",
            error=error[:ERROR_CHARACTERS_MAX],
            attempts=PaymentEvent.attempts + 1,
        )
    )


def due(session: Session, at: datetime) -> list[str]:
    """The ids of messages that are to be tried (again) now, oldest first."""
    pause = FIRST_PAUSE_SECONDS * func.power(2, PaymentEvent.attempts) * text("interval '1 second'")
    query = (
        select(PaymentEvent.id)
        .where(
            PaymentEvent.status.in_(("received", "failed")),
            PaymentEvent.attempts < ATTEMPTS_MAX,
            PaymentEvent.received_at + pause < at,
        )
        .order_by(PaymentEvent.created, PaymentEvent.id)
        .limit(AT_ONCE_MAX)
    )
    return list(session.scalars(query))


def to_recheck(session: Session, at: datetime) -> list[str]:
    """The ids of refunds and disputes that nobody knew the payment of, to be looked at again.

    A payment that is booked at the same moment does not see them, nor they it.
    """
    pause = FIRST_PAUSE_SECONDS * func.power(4, PaymentEvent.attempts) * text("interval '1 second'")
    query = (
        select(PaymentEvent.id)
        .where(
            PaymentEvent.status == "ignored",
            PaymentEvent.created > at - 2 * EARLY,
            or_(*(PaymentEvent.type.startswith(start) for start in ABOUT_PAYMENTS)),
            PaymentEvent.attempts < RECHECKS_MAX,
            PaymentEvent.received_at + pause < at,
        )
        .limit(AT_ONCE_MAX)
    )
    return list(session.scalars(query))


def wake(session: Session, payment_intent_id: str, since: datetime) -> None:
    """Take up again what was said about a payment before we knew its name at the provider."""
    session.execute(
        update(PaymentEvent)
        .where(
            PaymentEvent.status == "ignored",
            PaymentEvent.created >= since - EARLY,
            or_(*(PaymentEvent.type.startswith(start) for start in ABOUT_PAYMENTS)),
            PaymentEvent.payload["data"]["object"]["payment_intent"].astext == payment_intent_id,
        )
        .values(status="received", applied_at=None, attempts=0)
        .execution_options(synchronize_session=False)
    )


def about_refund(session: Session, refund_id: str, since: datetime) -> list[Payload]:
    """What was told of a refund so far, applied or not, about a payment begun at `since`."""
    told = PaymentEvent.payload["data"]["object"]
    query = select(told).where(
        PaymentEvent.type.startswith("refund."),
        PaymentEvent.created >= since - EARLY,
        told["id"].astext == refund_id,
    )
    return list(session.scalars(query))


def find(session: Session, *, limit: int, only_open: bool = False) -> list[PaymentEvent]:
    """The latest messages, newest first; `only_open`: those that were not applied or ignored."""
    query = select(PaymentEvent)
    if only_open:
        query = query.where(PaymentEvent.status.in_(("received", "failed")))
    return list(
        session.scalars(query.order_by(PaymentEvent.created.desc(), PaymentEvent.id).limit(limit))
    )


def latest(session: Session) -> datetime | None:
    """When the provider made the newest message that we have."""
    return session.scalars(select(func.max(PaymentEvent.created))).one()


def unknown(session: Session, event_ids: Iterable[str]) -> list[str]:
    """Of these ids, those that were never recorded."""
    asked = list(event_ids)
    known = set(session.scalars(select(PaymentEvent.id).where(PaymentEvent.id.in_(asked))))
    return [event_id for event_id in asked if event_id not in known]
