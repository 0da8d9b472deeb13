"""What payments store: events, payments, cards, refunds, disputes, automatic top-up, notices.

Only the verbs of this package write these tables. Amounts are microdollars; what the provider
counts in cents is converted at the edge. An id in text is the provider's own (evt_, pi_, re_ ...);
a UUID is ours and was written before the provider was asked.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from licensing.db import Base


class PaymentEvent(Base):
    """One verified message of the provider: written first, applied once, kept."""

    __tablename__ = "payment_event"
    __table_args__ = (
        CheckConstraint("status IN ('received', 'applied', 'ignored', 'failed')", name="status"),
        CheckConstraint("attempts >= 0", name="attempts"),
        CheckConstraint(
            "(status IN ('applied', 'ignored')) = (applied_at IS NOT NULL)", name="applied_at"
        ),
        Index(
            "ix_payment_event_received_at",
            "received_at",
            postgresql_where=text("status IN ('received', 'failed')"),
        ),
        Index("ix_payment_event_created", "created"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    created: Mapped[datetime]
    payload: Mapped[dict[str, Any]]
    status: Mapped[str]
    error: Mapped[str | None]  # why it failed, or why it was ignored
    attempts: Mapped[int]
    organisation_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("organisation.id"))
    received_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]


class PaymentCustomer(Base):
    """Who an organisation is to the provider."""

    __tablename__ = "payment_customer"
    __table_args__ = (UniqueConstraint("customer_id"),)

    organisation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    customer_id: Mapped[str]
    created_at: Mapped[datetime]


class PaymentCard(Base):
    """A card that the provider keeps for an organisation; nothing of it is here but four digits."""

    __tablename__ = "payment_card"
    __table_args__ = (Index("ix_payment_card_organisation_id", "organisation_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    brand: Mapped[str]
    last4: Mapped[str]
    exp_month: Mapped[int]
    exp_year: Mapped[int]
    attached_at: Mapped[datetime]
    detached_at: Mapped[datetime | None]


class Payment(Base):
    """Money asked of a payer: a checkout, a charge of the saved card, an invoice.

    `started` may become any other state; `failed` and `expired` may still become `paid`, because
    the provider's late word that it has the money is the true one.
    """

    __tablename__ = "payment"
    __table_args__ = (
        CheckConstraint("kind IN ('checkout', 'automatic', 'invoice')", name="kind"),
        CheckConstraint("amount_micros > 0", name="amount"),
        CheckConstraint("state IN ('started', 'paid', 'failed', 'expired')", name="state"),
        CheckConstraint("(state = 'started') = (resolved_at IS NULL)", name="resolved_at"),
        CheckConstraint("(state = 'paid') = (transfer_id IS NOT NULL)", name="paid_moves"),
        UniqueConstraint("checkout_id"),
        UniqueConstraint("payment_intent_id"),
        UniqueConstraint("invoice_intent_id"),
        UniqueConstraint("transfer_id"),
        Index("ix_payment_organisation_id_created_at", "organisation_id", "created_at"),
        Index(
            "uq_payment_automatic_under_way",
            "organisation_id",
            unique=True,
            postgresql_where=text("kind = 'automatic' AND state = 'started'"),
        ),
        Index("ix_payment_started", "created_at", postgresql_where=text("state = 'started'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    amount_micros: Mapped[int]
    state: Mapped[str]
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    card_id: Mapped[str | None]  # the card that an automatic payment was asked of
    checkout_id: Mapped[str | None]
    payment_intent_id: Mapped[str | None]  # of a paid invoice: the invoice's own name
    invoice_intent_id: Mapped[str | None]  # how an invoice was paid, if by card
    receipt_url: Mapped[str | None]
    failure: Mapped[str | None]
    created_at: Mapped[datetime]
    asked_at: Mapped[datetime]  # when the provider was last asked; it is asked again after a while
    resolved_at: Mapped[datetime | None]
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey("transfer.id"))


class PaymentRefund(Base):
    """Money on its way back to the payer; it has left the wallet before the provider is asked."""

    __tablename__ = "payment_refund"
    __table_args__ = (
        CheckConstraint("amount_micros > 0", name="amount"),
        CheckConstraint("state IN ('started', 'paid', 'failed')", name="state"),
        CheckConstraint("(state = 'started') = (resolved_at IS NULL)", name="resolved_at"),
        CheckConstraint("(state = 'failed') = (returned_id IS NOT NULL)", name="failed_returns"),
        UniqueConstraint("refund_id"),
        UniqueConstraint("transfer_id"),
        Index("ix_payment_refund_payment_id", "payment_id"),
        Index(
            "ix_payment_refund_started", "created_at", postgresql_where=text("state = 'started'")
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment.id"))
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    amount_micros: Mapped[int]
    state: Mapped[str]
    refund_id: Mapped[str | None]
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    reason: Mapped[str]
    failure: Mapped[str | None]
    created_at: Mapped[datetime]
    asked_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    transfer_id: Mapped[int] = mapped_column(ForeignKey("transfer.id"))
    returned_id: Mapped[int | None] = mapped_column(ForeignKey("transfer.id"))


class PaymentDispute(Base):
    """A payer's bank takes a payment back, or asks about it. Won and lost are final."""

    __tablename__ = "payment_dispute"
    __table_args__ = (
        CheckConstraint("amount_micros > 0", name="amount"),
        CheckConstraint("state IN ('inquiry', 'open', 'won', 'lost')", name="state"),
        CheckConstraint("(state IN ('won', 'lost')) = (closed_at IS NOT NULL)", name="closed_at"),
        CheckConstraint("(state = 'lost') = (transfer_id IS NOT NULL)", name="lost_moves"),
        Index("ix_payment_dispute_organisation_id", "organisation_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment.id"))
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    amount_micros: Mapped[int]
    reason: Mapped[str]
    state: Mapped[str]
    opened_at: Mapped[datetime]
    evidence_due_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey("transfer.id"))


class AutomaticTopUp(Base):
    """When the studio may charge the saved card by itself, and by how much at most.

    What it has done stands in `payment`; declines, back-off, burst and the month's sum are counted
    from there, since `on_since`.
    """

    __tablename__ = "automatic_top_up"
    __table_args__ = (
        CheckConstraint("threshold_micros >= 0", name="threshold"),
        CheckConstraint("amount_micros > 0", name="amount"),
        CheckConstraint("monthly_ceiling_micros >= amount_micros", name="ceiling"),
        CheckConstraint("(on_since IS NULL) = (off_reason IS NOT NULL)", name="off_reason"),
    )

    organisation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    threshold_micros: Mapped[int]
    amount_micros: Mapped[int]
    monthly_ceiling_micros: Mapped[int]
    on_since: Mapped[datetime | None]
    off_reason: Mapped[str | None]
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    changed_at: Mapped[datetime]


class BalanceAlert(Base):
    """Below how much an organisation's payers want to be told."""

    __tablename__ = "balance_alert"
    __table_args__ = (CheckConstraint("threshold_micros > 0", name="threshold"),)

    organisation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    threshold_micros: Mapped[int]
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    changed_at: Mapped[datetime]


class PaymentNotice(Base):
    """Something that owners and finance have to know; open until it is no longer so."""

    __tablename__ = "payment_notice"
    __table_args__ = (
        Index(
            "uq_payment_notice_open",
            "organisation_id",
            "kind",
            unique=True,
            postgresql_where=text("cleared_at IS NULL"),
        ),
        Index("ix_payment_notice_mailed_at", "id", postgresql_where=text("mailed_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    sentence: Mapped[str]
    created_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]
    mailed_at: Mapped[datetime | None]
