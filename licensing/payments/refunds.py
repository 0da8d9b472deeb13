"""Refunds: money goes back to the card it came from, and leaves the wallet first.

Owns `payment_refund`. The wallet pays before the provider is asked, so that nobody spends the same
money meanwhile; a refund that fails puts it back. A failure is final, because banks send refunds
back days after they were called done. A refund made at the provider's own desk is booked here too.
"""

import uuid
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from licensing import ledger
from licensing.db import now
from licensing.errors import Conflict
from licensing.ledger import InvalidEntry
from licensing.money import checked, format_usd
from licensing.payments import events, notices, top_ups
from licensing.payments.payloads import (
    REFUND_KEY,
    Mismatch,
    NotOurs,
    Payload,
    cents,
    cents_of,
    id_of,
    metadata_id,
    require_currency,
    text_of,
)
from licensing.payments.tables import Payment, PaymentDispute, PaymentRefund

REASON_CHARACTERS_MAX = 300
STATES = {"succeeded": "paid", "failed": "failed", "canceled": "failed"}  # others are under way
RANK = {"started": 0, "paid": 1, "failed": 2}
AT_THE_DESK = "made at the provider"


def begin(
    session: Session,
    organisation_id: uuid.UUID,
    payment_id: uuid.UUID,
    amount_micros: int,
    *,
    key: uuid.UUID,
    author_id: uuid.UUID,
    reason: str,
) -> PaymentRefund:
    """Take the money out of the wallet and write the refund down under `key`.

    The same key again returns the first one. Raises `NotFound`, and `Conflict` for more than is
    left of that payment, for one that is disputed, or for a key that was used otherwise.
    """
    payment = top_ups.get(session, organisation_id, payment_id)
    made = session.get(PaymentRefund, key, populate_existing=True)
    if made is not None:
        if (made.payment_id, made.amount_micros) != (payment_id, amount_micros):
            raise Conflict("This form was used for another refund. Open it again.")
        return made
    cents(checked(amount_micros))
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
        raise InvalidEntry(f"Say why, in 1 to {REASON_CHARACTERS_MAX} characters.")
    _require_refundable(session, payment, amount_micros)
    assert payment.payment_intent_id is not None, "a paid payment has a name at the provider"
    transfer = ledger.refund_top_up(
        session,
        organisation_id,
        amount_micros,
        top_up_key=top_ups.top_up_key(payment.payment_intent_id),
        key=str(key),
        author_id=author_id,
        note=reason,
    )
    return _write(
        session,
        payment,
        key,
        amount_micros=amount_micros,
        transfer_id=transfer.id,
        author_id=author_id,
        reason=reason,
    )


def answered(session: Session, refund_id: uuid.UUID, payload: Payload) -> None:
    """Keep what the provider answered, or told later, about a refund of ours."""
    refund = _lock(session, refund_id)
    assert refund is not None, "it was written before the provider was asked"
    _move(session, refund, payload)


def refused(session: Session, refund_id: uuid.UUID, failure: str) -> None:
    """The provider will not make this refund: put the money back."""
    refund = _lock(session, refund_id)
    assert refund is not None, "it was written before the provider was asked"
    if refund.state == "started":
        _fail(session, refund, failure)


def told(session: Session, payload: Payload) -> uuid.UUID:
    """The provider said how a refund stands, ours or one made at its own desk."""
    require_currency(payload)
    payment = top_ups.find(session, id_of(payload, "payment_intent"))
    own = metadata_id(payload, REFUND_KEY)
    refund = _lock(session, own) if own is not None else None
    if refund is None:
        refund = _lock(session, _desk_id(payload))
    if refund is None:
        refund = _book(session, payment, payload)
    if refund is not None:
        if refund.payment_id != payment.id:
            raise Mismatch("The message names another payment than the refund's.")
        if cents_of(payload, "amount") != refund.amount_micros:
            raise Mismatch(f"{format_usd(refund.amount_micros)} was to be refunded, not this.")
        _move(session, refund, payload)
    return payment.organisation_id


def refunded_micros(session: Session, payment_id: uuid.UUID) -> int:
    """How much of a payment has gone back, or is on its way."""
    query = select(func.coalesce(func.sum(PaymentRefund.amount_micros), 0)).where(
        PaymentRefund.payment_id == payment_id, PaymentRefund.state != "failed"
    )
    return int(session.scalars(query).one())


def unanswered(session: Session, before: datetime) -> list[PaymentRefund]:
    """Refunds that the provider was asked for before then and has not named yet."""
    query = select(PaymentRefund).where(
        PaymentRefund.state == "started",
        PaymentRefund.refund_id.is_(None),
        PaymentRefund.asked_at < before,
    )
    return list(session.scalars(query.order_by(PaymentRefund.created_at)))


def asked_again(session: Session, refund_id: uuid.UUID) -> None:
    """The provider is asked once more."""
    refund = _lock(session, refund_id)
    if refund is not None:
        refund.asked_at = now()


def _require_refundable(session: Session, payment: Payment, amount_micros: int) -> None:
    if payment.state != "paid":
        raise Conflict("This payment has brought no money that could go back.")
    if payment.kind == "invoice":
        raise Conflict("An invoice is refunded by your account manager, with a credit note.")
    disputed = select(PaymentDispute.id).where(
        PaymentDispute.payment_id == payment.id, PaymentDispute.state.in_(("open", "lost"))
    )
    if session.scalars(disputed).first() is not None:
        raise Conflict("This payment is disputed with the bank that made it; that decides.")
    left_micros = payment.amount_micros - refunded_micros(session, payment.id)
    if amount_micros > left_micros:
        raise Conflict(f"{format_usd(left_micros)} of this payment is left to refund.")


def _book(session: Session, payment: Payment, payload: Payload) -> PaymentRefund | None:
    """Write a refund that somebody made at the provider's desk; the money is gone already."""
    refund_id = text_of(payload, "id")
    # The failure may be told before the refund itself, and says that the money is where it was.
    if _has_failed(payload) or any(
        _has_failed(told) for told in events.about_refund(session, refund_id, payment.created_at)
    ):
        return None
    if payment.state != "paid":
        raise NotOurs("The payment that this gives back has not come yet.")  # it wakes this
    assert payment.payment_intent_id is not None, "it was found by this name"
    amount_micros = cents_of(payload, "amount")
    key = f"stripe:{refund_id}"
    top_up_key = top_ups.top_up_key(payment.payment_intent_id)
    try:
        with session.begin_nested():
            transfer = ledger.refund_top_up(
                session,
                payment.organisation_id,
                amount_micros,
                top_up_key=top_up_key,
                key=key,
                author_id=None,
                note=f"Refund {AT_THE_DESK}",
            )
    except Conflict:  # some of it is spent: the wallet owes it, and new work waits
        transfer = ledger.chargeback(
            session,
            payment.organisation_id,
            amount_micros,
            top_up_key=top_up_key,
            key=key,
            note=f"Refund {AT_THE_DESK}, of money that was spent",
        )
    return _write(
        session,
        payment,
        _desk_id(payload),
        amount_micros=amount_micros,
        transfer_id=transfer.id,
        author_id=None,
        reason=AT_THE_DESK,
    )


def _write(
    session: Session,
    payment: Payment,
    refund_id: uuid.UUID,
    *,
    amount_micros: int,
    transfer_id: int,
    author_id: uuid.UUID | None,
    reason: str,
) -> PaymentRefund:
    at = now()
    refund = PaymentRefund(
        id=refund_id,
        payment_id=payment.id,
        organisation_id=payment.organisation_id,
        amount_micros=amount_micros,
        state="started",
        author_id=author_id,
        reason=reason,
        created_at=at,
        asked_at=at,
        transfer_id=transfer_id,
    )
    session.add(refund)
    session.flush()
    return refund


def _move(session: Session, refund: PaymentRefund, payload: Payload) -> None:
    refund.refund_id = refund.refund_id or text_of(payload, "id")
    state = STATES.get(text_of(payload, "status"), "started")
    if RANK[state] <= RANK[refund.state]:
        return
    if state == "failed":
        _fail(session, refund, str(payload.get("failure_reason") or "the bank sent it back"))
    else:
        refund.state, refund.resolved_at = state, now()


def _fail(session: Session, refund: PaymentRefund, failure: str) -> None:
    transfer = ledger.return_refund(
        session,
        refund.organisation_id,
        refund.transfer_id,
        key=f"stripe:{refund.id}",
        note="A refund that the bank did not take",
    )
    refund.state, refund.failure, refund.resolved_at = "failed", failure, now()
    refund.returned_id = transfer.id
    amount = format_usd(refund.amount_micros)
    sentence = f"A refund of {amount} did not arrive; the money is back in the balance."
    notices.show(session, refund.organisation_id, "refund_failed", sentence)


def _has_failed(payload: Payload) -> bool:
    return STATES.get(str(payload.get("status"))) == "failed"


def _desk_id(payload: Payload) -> uuid.UUID:
    """A refund that we did not begin gets an id that its messages always lead to."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"stripe:{text_of(payload, 'id')}")


def _lock(session: Session, refund_id: uuid.UUID) -> PaymentRefund | None:
    return session.get(PaymentRefund, refund_id, with_for_update=True, populate_existing=True)
