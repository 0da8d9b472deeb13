"""Money on its way into a wallet: asked for, paid, failed, and never put in twice.

Owns `payment`. The row is written before the provider is asked; the wallet moves when the provider
says that it has the money, by a key made of the provider's own name for the payment. What the
provider says about a payment is read in `receipts`.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session

from licensing import ledger
from licensing.db import now
from licensing.errors import AtelierError, NotFound
from licensing.money import MICROS_PER_USD, InvalidAmount, format_usd
from licensing.payments import events
from licensing.payments.payloads import Mismatch, NotOurs, cents
from licensing.payments.tables import Payment

TOP_UP_PRESETS_MICROS = tuple(usd * MICROS_PER_USD for usd in (10, 25, 50, 100))
TOP_UP_MICROS_MIN = 5 * MICROS_PER_USD  # below, the provider's fee eats it
TOP_UP_MICROS_MAX = 10_000 * MICROS_PER_USD  # above, an invoice is the better way
CHECKOUTS_PER_HOUR_MAX = 30  # somebody who tries cards in a row is no payer
NOTES = {"checkout": "Card payment", "automatic": "Automatic top-up", "invoice": "Invoice paid"}


class TooManyPayments(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Too many payments were begun within the hour."""

    code = "too_many_payments"
    status = 429


def begin(
    session: Session, organisation_id: uuid.UUID, amount_micros: int, *, author_id: uuid.UUID
) -> Payment:
    """Write down that somebody wants to pay. Raises `InvalidAmount` and `TooManyPayments`."""
    checked_top_up(amount_micros)
    at = now()
    query = select(func.count()).where(
        Payment.organisation_id == organisation_id,
        Payment.kind == "checkout",
        Payment.created_at > at - timedelta(hours=1),
    )
    if session.scalars(query).one() >= CHECKOUTS_PER_HOUR_MAX:
        raise TooManyPayments(
            f"{CHECKOUTS_PER_HOUR_MAX} payments were begun within an hour. Wait a little."
        )
    return write(session, organisation_id, "checkout", amount_micros, author_id=author_id)


def checked_top_up(amount_micros: int) -> int:
    """Return the amount if a card may be asked for it; raises `InvalidAmount`."""
    if type(amount_micros) is not int or not (
        TOP_UP_MICROS_MIN <= amount_micros <= TOP_UP_MICROS_MAX
    ):
        raise InvalidAmount(
            f"A top-up is from {format_usd(TOP_UP_MICROS_MIN)} to {format_usd(TOP_UP_MICROS_MAX)}."
        )
    cents(amount_micros)
    return amount_micros


def write(
    session: Session,
    organisation_id: uuid.UUID,
    kind: str,
    amount_micros: int,
    *,
    author_id: uuid.UUID | None = None,
    card_id: str | None = None,
) -> Payment:
    """Insert a payment that has begun."""
    at = now()
    payment = Payment(
        id=uuid.uuid4(),
        organisation_id=organisation_id,
        kind=kind,
        amount_micros=amount_micros,
        state="started",
        author_id=author_id,
        card_id=card_id,
        created_at=at,
        asked_at=at,
    )
    session.add(payment)
    session.flush()
    return payment


def asked(session: Session, payment_id: uuid.UUID, checkout_id: str) -> None:
    """Keep the provider's name for the page on which a payment is made."""
    payment = _lock(session, payment_id)
    payment.checkout_id = payment.checkout_id or checkout_id


def not_asked(session: Session, payment_id: uuid.UUID, failure: str) -> None:
    """The provider refused to begin; nobody was asked for money."""
    end_unpaid(_lock(session, payment_id), "failed", failure)


def pay(session: Session, payment: Payment, reference: str) -> None:
    """Put a payment's money into the wallet, once. The caller holds the payment's row.

    `reference` is the provider's name for what was paid: a payment intent, or an invoice.
    """
    named = payment.payment_intent_id
    if payment.state == "paid":
        if named != reference:
            raise Mismatch(f"The payment was made by {named}; {reference} says it was made again.")
        return
    transfer = ledger.top_up(
        session,
        payment.organisation_id,
        payment.amount_micros,
        key=top_up_key(reference),
        author_id=payment.author_id,
        note=NOTES[payment.kind],
    )
    payment.payment_intent_id = reference
    payment.state, payment.transfer_id = "paid", transfer.id
    payment.resolved_at, payment.failure = now(), None
    session.flush()
    events.wake(session, reference, payment.created_at)


def fail(session: Session, payment_id: uuid.UUID, failure: str) -> bool:
    """A charge by itself was declined; False if its outcome was known already."""
    return end_unpaid(_lock(session, payment_id), "failed", failure)


def top_up_key(reference: str) -> str:
    """The ledger's key for the money of one payment."""
    return f"stripe:{reference}"


def get(session: Session, organisation_id: uuid.UUID, payment_id: uuid.UUID) -> Payment:
    """Lock a payment of this organisation; raises `NotFound` for anybody else's."""
    query = select(Payment).where(
        Payment.id == payment_id, Payment.organisation_id == organisation_id
    )
    return lock_one(session, query)


def find(session: Session, payment_intent_id: str | None) -> Payment:
    """Lock the payment that the provider calls so; raises `NotOurs`."""
    query = select(Payment).where(
        or_(
            Payment.payment_intent_id == payment_intent_id,
            Payment.invoice_intent_id == payment_intent_id,
        )
    )
    try:
        return lock_one(session, query)
    except NotFound as error:
        raise NotOurs(f"No payment here is {payment_intent_id}.") from error


def expire_left(session: Session, before: datetime) -> int:
    """End payments whose page was never made or never heard of again; return how many."""
    left = session.scalars(
        update(Payment)
        .where(Payment.kind == "checkout", Payment.state == "started", Payment.created_at < before)
        .values(state="expired", resolved_at=now(), failure="Nobody paid.")
        .returning(Payment.id)
        .execution_options(synchronize_session=False)
    )
    return len(list(left))


def forgotten(session: Session, before: datetime) -> list[uuid.UUID]:
    """Charges whose outcome nobody has heard since `before`, oldest first."""
    query = select(Payment.id).where(*_unheard(before)).order_by(Payment.created_at)
    return list(session.scalars(query))


def take_forgotten(session: Session, payment_id: uuid.UUID, before: datetime) -> Payment | None:
    """Lock one of them; None if somebody has it, or has heard of it meanwhile."""
    query = select(Payment).where(Payment.id == payment_id, *_unheard(before))
    return session.scalars(query.with_for_update(skip_locked=True)).one_or_none()


def _unheard(before: datetime) -> tuple[ColumnElement[bool], ...]:
    return Payment.kind == "automatic", Payment.state == "started", Payment.asked_at < before


def _lock(session: Session, payment_id: uuid.UUID) -> Payment:
    return lock_one(session, select(Payment).where(Payment.id == payment_id))


def lock_one(session: Session, query: Select[Payment]) -> Payment:
    """Lock the payment that a query finds; raises `NotFound`."""
    locked = query.with_for_update().execution_options(populate_existing=True)
    payment = session.scalars(locked).one_or_none()
    if payment is None:
        raise NotFound("There is no such payment.")
    return payment


def end_unpaid(payment: Payment, state: str, failure: str) -> bool:
    """End a payment without money; False if it has ended. The caller holds its row."""
    if payment.state != "started":
        return False
    payment.state, payment.failure, payment.resolved_at = state, failure, now()
    return True
