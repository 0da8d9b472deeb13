"""What payments store of bought seats and of bills that the provider sends.

Only the verbs of this package write these tables; see `tables` for what its columns have in common.
"""

import uuid
from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from licensing.db import Base


class SeatSubscription(Base):
    """Seats that are paid for, as the provider last told it; `as_of` is when it said so."""

    __tablename__ = "seat_subscription"
    __table_args__ = (
        CheckConstraint("quantity >= 0", name="quantity"),
        CheckConstraint(
            "(pending_quantity IS NULL) = (pending_at IS NULL)", name="pending_has_a_day"
        ),
        Index(
            "uq_seat_subscription_live",
            "organisation_id",
            unique=True,
            postgresql_where=text("status NOT IN ('canceled', 'incomplete_expired')"),
        ),
    )

    subscription_id: Mapped[str] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    item_id: Mapped[str]
    price_id: Mapped[str]
    tier: Mapped[str]
    status: Mapped[str]
    quantity: Mapped[int]
    schedule_id: Mapped[str | None]
    pending_quantity: Mapped[int | None]  # fewer seats, from `pending_at` on
    pending_at: Mapped[datetime | None]
    period_end: Mapped[datetime]
    is_ending: Mapped[bool]  # it ends with the period
    as_of: Mapped[datetime]
    needs_reading: Mapped[bool]  # events of one second cannot be ordered: ask the provider


class PaymentInvoice(Base):
    """A bill that the provider sends: usage on credit (Net 30), or seats."""

    __tablename__ = "payment_invoice"
    __table_args__ = (
        CheckConstraint("kind IN ('credit', 'seats')", name="kind"),
        CheckConstraint("amount_micros >= 0", name="amount"),
        CheckConstraint(
            "state IN ('started', 'open', 'paid', 'void', 'uncollectible')", name="state"
        ),
        CheckConstraint("(kind = 'credit') = (month IS NOT NULL)", name="month"),
        CheckConstraint("(state = 'paid') = (paid_at IS NOT NULL)", name="paid_at"),
        CheckConstraint(
            "kind <> 'seats' OR state NOT IN ('open', 'paid') OR billed_at IS NOT NULL",
            name="billed_at",
        ),
        UniqueConstraint("invoice_id"),
        Index(
            "uq_payment_invoice_month",
            "organisation_id",
            "month",
            unique=True,
            postgresql_where=text("kind = 'credit'"),
        ),
        Index("ix_payment_invoice_organisation_id_created_at", "organisation_id", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    month: Mapped[date | None]  # its first day
    amount_micros: Mapped[int]
    state: Mapped[str]
    invoice_id: Mapped[str | None]
    number: Mapped[str | None]
    hosted_url: Mapped[str | None]
    pdf_url: Mapped[str | None]
    created_at: Mapped[datetime]
    asked_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    billed_at: Mapped[datetime | None]  # of seats: in whose month it is; the database sets it
    payment_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("payment.id"))
