"""Money on its way into a wallet: asked for, paid, failed, and never put in twice.

Owns `payment`. The row is written before the provider is asked; the wallet moves when the provider
says that it has the money, by a key made of the provider's own name for the payment. A message that
disagrees with the row about money or payer moves nothing.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from licensing import ledger
from licensing.db import now
from licensing.errors import AtelierError, NotFound
from licensing.money import MICROS_PER_USD, InvalidAmount, format_usd
from licensing.payments import cards, events
from licensing.payments.payloads import (
    ORGANISATION_KEY,
    PAYMENT_KEY,
    Mismatch,
    NotOurs,
    Payload,
    cents,
    cents_of,
    id_of,
    inner,
    metadata_id,
    require_currency,
    text_of,
)
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
    _fail(_lock(session, payment_id), "failed", failure)


def session_ended(session: Session, payload: Payload) -> uuid.UUID:
    """A payer came to the end of the provider's page; the money may follow days later."""
    if payload.get("mode") != "payment":
        raise NotOurs("No top-up: what follows is told by messages of its own.")
    payment = _of(session, payload, checkout_id=text_of(payload, "id"))
    _require_amount(payment, payload, "amount_total")
    payment.checkout_id = payment.checkout_id or text_of(payload, "id")
    intent_id = id_of(payload, "payment_intent")
    if payload.get("payment_status") == "paid":
        if intent_id is None:
            raise Mismatch("The page says paid and names no payment.")
        pay(session, payment, intent_id)
    elif intent_id is not None:
        payment.payment_intent_id = payment.payment_intent_id or intent_id
    return payment.organisation_id


def session_failed(session: Session, payload: Payload) -> uuid.UUID:
    """A payment that takes days (a bank debit) did not come."""
    payment = _of(session, payload, checkout_id=text_of(payload, "id"))
    _fail(payment, "failed", "The bank did not pay.")
    return payment.organisation_id


def session_expired(session: Session, payload: Payload) -> uuid.UUID:
    """Nobody paid on the page while it was open."""
    if payload.get("mode") != "payment":
        raise NotOurs("No top-up expired.")
    payment = _of(session, payload, checkout_id=text_of(payload, "id"))
    _fail(payment, "expired", "The payment page was left without paying.")
    return payment.organisation_id


def intent_succeeded(session: Session, payload: Payload) -> uuid.UUID:
    """The provider has the money."""
    payment = _of(session, payload, intent_id=text_of(payload, "id"))
    _require_amount(payment, payload, "amount_received")
    pay(session, payment, text_of(payload, "id"))
    return payment.organisation_id


def intent_failed(session: Session, payload: Payload) -> uuid.UUID:
    """A card was declined. On a page the payer may try another; a charge by itself has failed."""
    payment = _of(session, payload, intent_id=text_of(payload, "id"))
    failure = str(inner(payload, "last_payment_error").get("message") or "The card was declined.")
    if payment.kind == "checkout":
        payment.failure = payment.failure if payment.state == "paid" else failure
    else:
        payment.payment_intent_id = payment.payment_intent_id or text_of(payload, "id")
        _fail(payment, "failed", failure)
    return payment.organisation_id


def charge_told(session: Session, payload: Payload) -> uuid.UUID:
    """Keep where the receipt of a payment lies."""
    payment = _of(session, payload, intent_id=id_of(payload, "payment_intent"))
    receipt = payload.get("receipt_url")
    if isinstance(receipt, str) and receipt.startswith(("https://", "http://")):
        payment.receipt_url = receipt
    return payment.organisation_id


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
    return _fail(_lock(session, payment_id), "failed", failure)


def top_up_key(reference: str) -> str:
    """The ledger's key for the money of one payment."""
    return f"stripe:{reference}"


def get(session: Session, organisation_id: uuid.UUID, payment_id: uuid.UUID) -> Payment:
    """Lock a payment of this organisation; raises `NotFound` for anybody else's."""
    query = select(Payment).where(
        Payment.id == payment_id, Payment.organisation_id == organisation_id
    )
    return _one(session, query)


def _lock(session: Session, payment_id: uuid.UUID) -> Payment:
    return _one(session, select(Payment).where(Payment.id == payment_id))


def _one(session: Session, query: Select[Payment]) -> Payment:
    locked = query.with_for_update().execution_options(populate_existing=True)
    payment = session.scalars(locked).one_or_none()
    if payment is None:
        raise NotFound("There is no such payment.")
    return payment


def find(session: Session, payment_intent_id: str | None) -> Payment:
    """Lock the payment that the provider calls so; raises `NotOurs`."""
    query = select(Payment).where(
        or_(
            Payment.payment_intent_id == payment_intent_id,
            Payment.invoice_intent_id == payment_intent_id,
        )
    )
    try:
        return _one(session, query)
    except NotFound as error:
        raise NotOurs(f"No payment here is {payment_intent_id}.") from error


def _of(
    session: Session,
    payload: Payload,
    *,
    intent_id: str | None = None,
    checkout_id: str | None = None,
) -> Payment:
    """Lock the payment that a message is about, and compare its payer with ours."""
    payment_id = metadata_id(payload, PAYMENT_KEY)
    names = [Payment.id == payment_id]
    names += [Payment.payment_intent_id == intent_id] if intent_id else []
    names += [Payment.checkout_id == checkout_id] if checkout_id else []
    try:
        payment = _one(session, select(Payment).where(or_(*names)))
    except NotFound as error:
        raise NotOurs("No payment here is meant.") from error
    named = metadata_id(payload, ORGANISATION_KEY)
    if named is not None and named != payment.organisation_id:
        raise Mismatch("The message names another organisation than the payment's.")
    cards.require_customer(session, payment.organisation_id, payload)
    return payment


def _require_amount(payment: Payment, payload: Payload, name: str) -> None:
    require_currency(payload)
    said = cents_of(payload, name)
    if said != payment.amount_micros:
        raise Mismatch(
            f"The message says {format_usd(said)}; {format_usd(payment.amount_micros)} was asked."
        )


def _fail(payment: Payment, state: str, failure: str) -> bool:
    if payment.state != "started":
        return False
    payment.state, payment.failure, payment.resolved_at = state, failure, now()
    return True


def invoice_paid(session: Session, payload: Payload) -> uuid.UUID:
    """Keep by which payment an invoice was paid, so that a dispute about it finds the wallet."""
    payment = find(session, id_of(payload, "invoice"))
    intent_id = id_of(inner(payload, "payment"), "payment_intent")
    if intent_id is not None:
        payment.invoice_intent_id = intent_id
        session.flush()
        events.wake(session, intent_id, payment.created_at)
    return payment.organisation_id


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


def forgotten(session: Session, before: datetime) -> list[Payment]:
    """Charges whose outcome nobody has heard since `before`, oldest first."""
    query = (
        select(Payment)
        .where(Payment.kind == "automatic", Payment.state == "started", Payment.asked_at < before)
        .order_by(Payment.created_at)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))
