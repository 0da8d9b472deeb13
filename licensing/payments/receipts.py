"""What the provider says about a payment, held against our row of it.

A message that disagrees with the row about money or payer moves nothing. Called by `apply`, and by
the web process with the provider's answer to an automatic charge.
"""

import uuid

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from licensing.errors import NotFound
from licensing.money import format_usd
from licensing.payments import cards, events
from licensing.payments.payloads import (
    ORGANISATION_KEY,
    PAYMENT_KEY,
    Mismatch,
    NotOurs,
    Payload,
    cents_of,
    id_of,
    inner,
    metadata_id,
    require_currency,
    text_of,
)
from licensing.payments.tables import Payment
from licensing.payments.top_ups import end_unpaid, find, lock_one, pay


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
    end_unpaid(payment, "failed", "The bank did not pay.")
    return payment.organisation_id


def session_expired(session: Session, payload: Payload) -> uuid.UUID:
    """Nobody paid on the page while it was open."""
    if payload.get("mode") != "payment":
        raise NotOurs("No top-up expired.")
    payment = _of(session, payload, checkout_id=text_of(payload, "id"))
    end_unpaid(payment, "expired", "The payment page was left without paying.")
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
        end_unpaid(payment, "failed", failure)
    return payment.organisation_id


def charge_told(session: Session, payload: Payload) -> uuid.UUID:
    """Keep where the receipt of a payment lies."""
    payment = _of(session, payload, intent_id=id_of(payload, "payment_intent"))
    receipt = payload.get("receipt_url")
    if isinstance(receipt, str) and receipt.startswith(("https://", "http://")):
        payment.receipt_url = receipt
    return payment.organisation_id


def invoice_paid(session: Session, payload: Payload) -> uuid.UUID:
    """Keep by which payment an invoice was paid, so that a dispute about it finds the wallet."""
    payment = find(session, id_of(payload, "invoice"))
    intent_id = id_of(inner(payload, "payment"), "payment_intent")
    if intent_id is not None:
        payment.invoice_intent_id = intent_id
        session.flush()
        events.wake(session, intent_id, payment.created_at)
    return payment.organisation_id


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
        payment = lock_one(session, select(Payment).where(or_(*names)))
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
