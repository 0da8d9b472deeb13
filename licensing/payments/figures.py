"""What the finance page shows of payments: card, automatic top-up, payments, invoices, notices."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from licensing.db import now
from licensing.ledger import Lot
from licensing.payments import automatic, cards, notices, subscriptions
from licensing.payments.automatic import PAUSE_AFTER_DECLINE
from licensing.payments.bill_tables import PaymentInvoice, SeatSubscription
from licensing.payments.tables import (
    AutomaticTopUp,
    Payment,
    PaymentCard,
    PaymentDispute,
    PaymentEvent,
    PaymentRefund,
)


@dataclass(frozen=True)
class Card:
    """The saved card, as far as anybody here may know it."""

    id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int


@dataclass(frozen=True)
class Automatic:
    """Automatic top-up as it is set, and what it has done."""

    is_on: bool
    threshold_micros: int
    amount_micros: int
    monthly_ceiling_micros: int
    off_reason: str | None
    charged_this_month_micros: int
    declines: int
    paused_until: datetime | None


@dataclass(frozen=True)
class Notice:
    """Something to know about money; `is_dismissable`: it stays until somebody puts it away."""

    id: int
    kind: str
    sentence: str
    created_at: datetime
    is_dismissable: bool


@dataclass(frozen=True)
class Subscription:
    """Seats that are paid for, and the number from `pending_at` on if it will change."""

    tier: str
    status: str
    quantity: int
    pending_quantity: int | None
    pending_at: datetime | None
    period_end: datetime
    is_ending: bool


@dataclass(frozen=True)
class Overview:
    """How an organisation pays."""

    card: Card | None
    automatic: Automatic | None
    alert_micros: int | None
    notices: list[Notice]
    subscription: Subscription | None


@dataclass(frozen=True)
class PaymentLine:
    """One payment, what went back of it, and how much still could by what its lot has."""

    id: uuid.UUID
    at: datetime
    kind: str
    amount_micros: int
    state: str
    refunded_micros: int
    refundable_micros: int
    disputed: str | None
    receipt_url: str | None
    failure: str | None
    author_id: uuid.UUID | None


@dataclass(frozen=True)
class InvoiceLine:
    """One invoice; `month` for usage on credit, none for seats."""

    id: uuid.UUID
    number: str | None
    kind: str
    month: date | None
    amount_micros: int
    state: str
    created_at: datetime
    due_at: datetime | None
    paid_at: datetime | None
    hosted_url: str | None
    pdf_url: str | None


def overview(session: Session, organisation_id: uuid.UUID) -> Overview:
    """Read how an organisation pays, and what its payers have to know."""
    card = cards.card_of(session, organisation_id)
    settings = automatic.settings_of(session, organisation_id)
    seats = subscriptions.live(session, organisation_id)
    return Overview(
        card=None if card is None else _card(card),
        automatic=None if settings is None else _automatic(session, settings),
        alert_micros=notices.alert_of(session, organisation_id),
        notices=[
            Notice(
                notice.id,
                notice.kind,
                notice.sentence,
                notice.created_at,
                notice.kind in notices.DISMISSABLE,
            )
            for notice in notices.open_notices(session, organisation_id)
        ],
        subscription=None if seats is None else _subscription(seats),
    )


def payment_lines(
    session: Session,
    organisation_id: uuid.UUID,
    *,
    limit: int = 50,
    before: datetime | None = None,
) -> list[PaymentLine]:
    """An organisation's payments, newest first; pages left without paying are left out."""
    returned = (
        select(func.coalesce(func.sum(PaymentRefund.amount_micros), 0))
        .where(PaymentRefund.payment_id == Payment.id, PaymentRefund.state != "failed")
        .correlate(Payment)
        .scalar_subquery()
    )
    disputed = (
        select(PaymentDispute.state)
        .where(PaymentDispute.payment_id == Payment.id)
        .order_by(PaymentDispute.opened_at.desc())
        .limit(1)
        .correlate(Payment)
        .scalar_subquery()
    )
    query = (
        select(Payment, returned, disputed, func.coalesce(Lot.remaining_micros, 0))
        .outerjoin(Lot, Lot.transfer_id == Payment.transfer_id)
        .where(
            Payment.organisation_id == organisation_id,
            # A page that nobody has paid on yet says nothing to finance; a declined card does.
            or_(
                Payment.state.in_(("paid", "failed")),
                and_(Payment.state == "started", Payment.kind == "automatic"),
                and_(Payment.state == "started", Payment.failure.is_not(None)),
            ),
        )
        .order_by(Payment.created_at.desc(), Payment.id)
        .limit(limit)
    )
    if before is not None:
        query = query.where(Payment.created_at < before)
    return [_line(*row) for row in session.execute(query)]


def invoice_lines(
    session: Session, organisation_id: uuid.UUID, *, limit: int = 50
) -> list[InvoiceLine]:
    """An organisation's invoices, newest first; months that asked for nothing are left out.

    The provider counts time in seconds and numbers in order: the number decides within a second.
    """
    query = (
        select(PaymentInvoice)
        .where(
            PaymentInvoice.organisation_id == organisation_id,
            PaymentInvoice.state != "started",
            PaymentInvoice.invoice_id.is_not(None),
        )
        .order_by(PaymentInvoice.created_at.desc(), PaymentInvoice.number.desc())
        .limit(limit)
    )
    return [
        InvoiceLine(
            id=row.id,
            number=row.number,
            kind=row.kind,
            month=row.month,
            amount_micros=row.amount_micros,
            state=row.state,
            created_at=row.created_at,
            due_at=row.due_at,
            paid_at=row.paid_at,
            hosted_url=row.hosted_url,
            pdf_url=row.pdf_url,
        )
        for row in session.scalars(query)
    ]


def problems(session: Session, *, limit: int = 50) -> list[PaymentEvent]:
    """For the operator: messages of the provider that could not be applied, newest first."""
    query = select(PaymentEvent).where(PaymentEvent.status == "failed")
    return list(session.scalars(query.order_by(PaymentEvent.received_at.desc()).limit(limit)))


def _card(card: PaymentCard) -> Card:
    return Card(card.id, card.brand, card.last4, card.exp_month, card.exp_year)


def _subscription(row: SeatSubscription) -> Subscription:
    return Subscription(
        tier=row.tier,
        status=row.status,
        quantity=row.quantity,
        pending_quantity=row.pending_quantity,
        pending_at=row.pending_at,
        period_end=row.period_end,
        is_ending=row.is_ending,
    )


def _automatic(session: Session, settings: AutomaticTopUp) -> Automatic:
    at = now()
    record = automatic.record_of(
        session, settings.organisation_id, settings.on_since or settings.changed_at, at
    )
    until = record.last_decline_at and record.last_decline_at + PAUSE_AFTER_DECLINE
    return Automatic(
        is_on=settings.on_since is not None,
        threshold_micros=settings.threshold_micros,
        amount_micros=settings.amount_micros,
        monthly_ceiling_micros=settings.monthly_ceiling_micros,
        off_reason=settings.off_reason,
        charged_this_month_micros=record.month_micros,
        declines=record.declines,
        paused_until=until if until and until > at and settings.on_since else None,
    )


def _line(
    payment: Payment, refunded_micros: int, disputed: str | None, remaining_micros: int
) -> PaymentLine:
    left_micros = min(payment.amount_micros - int(refunded_micros), int(remaining_micros))
    can_go_back = (
        payment.state == "paid" and payment.kind != "invoice" and disputed not in {"open", "lost"}
    )
    return PaymentLine(
        id=payment.id,
        at=payment.created_at,
        kind=payment.kind,
        amount_micros=payment.amount_micros,
        state=payment.state,
        refunded_micros=int(refunded_micros),
        # Whole cents: a card cannot be given back a part of one.
        refundable_micros=max(left_micros, 0) // 10_000 * 10_000 if can_go_back else 0,
        disputed=disputed,
        receipt_url=payment.receipt_url,
        failure=payment.failure,
        author_id=payment.author_id,
    )
