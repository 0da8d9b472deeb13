"""Disputes: a payer's bank takes a payment back, and the wallet waits until it is decided.

Owns `payment_dispute`. Opened: no new work. Won: work goes on. Lost: the money leaves the wallet,
even what was spent, and the wallet stays frozen until the operator has spoken with the payer.
Decisions are final here: whatever is told late after one changes nothing.
"""

import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing import ledger
from licensing.db import now
from licensing.money import format_usd
from licensing.payments import freezes, notices, top_ups
from licensing.payments.payloads import (
    Payload,
    cents_of,
    id_of,
    inner,
    require_currency,
    text_of,
    time_of,
)
from licensing.payments.tables import Payment, PaymentDispute

WON = frozenset({"won", "warning_closed", "prevented"})
LOST = "lost"
RANK = {"inquiry": 0, "open": 1, "won": 2, "lost": 2}


def told(session: Session, payload: Payload, at: datetime) -> uuid.UUID:
    """The provider said how a dispute stands."""
    require_currency(payload)
    payment = top_ups.find(session, id_of(payload, "payment_intent"))
    state = _state(text_of(payload, "status"))
    dispute = _find(session, payment, payload, at)
    if RANK[state] > RANK[dispute.state] or dispute.state == state == "inquiry":
        dispute.evidence_due_at = time_of(inner(payload, "evidence_details"), "due_by")
        if state == "lost":
            _lose(session, payment, dispute)
        elif state == "won":
            dispute.state, dispute.closed_at = "won", now()
        else:
            dispute.state = state
    freezes.settle(session, payment.organisation_id)
    _tell(session, payment.organisation_id)  # behind the wallet's lock, as where one is lost
    return payment.organisation_id


def _find(session: Session, payment: Payment, payload: Payload, at: datetime) -> PaymentDispute:
    dispute_id = text_of(payload, "id")
    dispute = session.get(PaymentDispute, dispute_id, with_for_update=True, populate_existing=True)
    if dispute is None:
        dispute = PaymentDispute(
            id=dispute_id,
            payment_id=payment.id,
            organisation_id=payment.organisation_id,
            amount_micros=min(cents_of(payload, "amount"), payment.amount_micros),
            reason=str(payload.get("reason") or "general"),
            state="inquiry",
            opened_at=time_of(payload, "created") or at,
        )
        session.add(dispute)
    return dispute


def _lose(session: Session, payment: Payment, dispute: PaymentDispute) -> None:
    assert payment.payment_intent_id is not None, "it was found by this name"
    amount = format_usd(dispute.amount_micros)
    transfer = ledger.chargeback(
        session,
        payment.organisation_id,
        dispute.amount_micros,
        top_up_key=top_ups.top_up_key(payment.payment_intent_id),
        key=f"stripe:{dispute.id}",
        note=f"Dispute {dispute.id} lost: {amount}",
    )
    dispute.state, dispute.closed_at, dispute.transfer_id = "lost", now(), transfer.id
    sentence = f"A dispute was lost: the payer's bank took {amount} back, and new work is stopped."
    notices.show(session, payment.organisation_id, "dispute_lost", sentence)


def _tell(session: Session, organisation_id: uuid.UUID) -> None:
    session.flush()
    query = select(PaymentDispute.amount_micros).where(
        PaymentDispute.organisation_id == organisation_id, PaymentDispute.state == "open"
    )
    amounts = list(session.scalars(query))
    if amounts:
        sentence = (
            f"A payment of {format_usd(amounts[0])} is disputed with the bank that made it. New "
            "work waits until that is decided."
        )
        notices.show(session, organisation_id, "dispute", sentence)
    else:
        notices.clear(session, organisation_id, "dispute")


def _state(status: str) -> str:
    if status == LOST:
        return "lost"
    if status in WON:
        return "won"
    return "inquiry" if status.startswith("warning_") else "open"
