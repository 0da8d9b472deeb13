"""What the ledger stores: accounts, holds, transfers, lots, spends, and the wallet's own changes.

Only the verbs of this package write these tables. Transfers, spends and wallet changes are
append-only; a hold is resolved once; of a lot only what remains of it changes.
"""

import uuid
from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from licensing.db import Base


class Account(Base):
    """A pot of an organisation's money; the wallet is the one that can be spent.

    Cash is what was paid in, revenue what was earned, promotion where gifts come from, adjustment
    what the operator put right, breakage what ran out. Only the wallet keeps its figures in the
    row, because only the wallet is checked before it is used; the others are added up from
    transfers when somebody asks. A wallet may stand below zero: down to its credit limit by
    spending, further by a lost dispute alone.
    """

    __tablename__ = "account"
    __table_args__ = (
        UniqueConstraint("organisation_id", "kind"),
        UniqueConstraint("id", "organisation_id"),
        CheckConstraint(
            "kind IN ('cash', 'wallet', 'revenue', 'promotion', 'adjustment', 'breakage')",
            name="kind",
        ),
        CheckConstraint("held_micros >= 0", name="held"),
        CheckConstraint("credit_limit_micros >= 0", name="credit_limit"),
        CheckConstraint(
            "kind = 'wallet' OR (settled_micros = 0 AND held_micros = 0"
            " AND credit_limit_micros = 0 AND frozen_reason IS NULL)",
            name="only_wallets_cache",
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    settled_micros: Mapped[int]
    held_micros: Mapped[int]
    credit_limit_micros: Mapped[int] = mapped_column(server_default=text("0"))
    frozen_reason: Mapped[str | None]


class Hold(Base):
    """Money set aside for one generation, until it is settled, released or expired."""

    __tablename__ = "hold"
    __table_args__ = (
        # One organisation's money never waits for another one's member.
        ForeignKeyConstraint(
            ["member_id", "organisation_id"], ["member.id", "member.organisation_id"]
        ),
        CheckConstraint("amount_micros > 0", name="amount"),
        CheckConstraint("state IN ('held', 'settled', 'released', 'expired')", name="state"),
        CheckConstraint("(state = 'held') = (resolved_at IS NULL)", name="resolved_at"),
        CheckConstraint("(state = 'settled') = (settled_micros IS NOT NULL)", name="settled"),
        CheckConstraint("settled_micros BETWEEN 0 AND amount_micros", name="at_most_held"),
        Index("ix_hold_expires_at", "expires_at", postgresql_where=text("state = 'held'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID]
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    member_id: Mapped[uuid.UUID]
    generation_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    amount_micros: Mapped[int]
    price_version: Mapped[str]
    state: Mapped[str]
    settled_micros: Mapped[int | None]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]


class Transfer(Base):
    """Money that moved from `source` to `destination`, once, for ever. Append-only.

    `origin_id` names the transfer that this one takes back: a refund's top-up or charge, a lost
    dispute's top-up, the gift or top-up whose rest ran out, the refund that did not arrive.
    """

    __tablename__ = "transfer"
    __table_args__ = (
        # Money stays inside an organisation.
        ForeignKeyConstraint(
            ["source_id", "organisation_id"], ["account.id", "account.organisation_id"]
        ),
        ForeignKeyConstraint(
            ["destination_id", "organisation_id"], ["account.id", "account.organisation_id"]
        ),
        # A charge is found by its hold, everything else by its key.
        Index(
            "uq_transfer_organisation_id_key",
            "organisation_id",
            "key",
            unique=True,
            postgresql_where=text("kind <> 'settle'"),
        ),
        CheckConstraint("amount_micros > 0", name="amount"),
        CheckConstraint("source_id <> destination_id", name="two_accounts"),
        CheckConstraint(
            "kind IN ('top_up', 'grant', 'adjust', 'settle', 'refund_top_up', 'refund_generation',"
            " 'chargeback', 'expire', 'return_refund')",
            name="kind",
        ),
        CheckConstraint("(kind = 'settle') = (hold_id IS NOT NULL)", name="settle_names_hold"),
        CheckConstraint(
            "(kind IN ('refund_top_up', 'refund_generation', 'chargeback', 'expire',"
            " 'return_refund')) = (origin_id IS NOT NULL)",
            name="return_names_origin",
        ),
        Index("ix_transfer_organisation_id_id", "organisation_id", "id"),
        # What finance lists is everything but the charges, which may be millions.
        Index(
            "ix_transfer_movements",
            "organisation_id",
            "id",
            postgresql_where=text("kind <> 'settle'"),
        ),
        Index("ix_transfer_origin_id", "origin_id", postgresql_where=text("origin_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    source_id: Mapped[uuid.UUID]
    destination_id: Mapped[uuid.UUID]
    amount_micros: Mapped[int]
    key: Mapped[str]
    hold_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("hold.id"), unique=True)
    origin_id: Mapped[int | None] = mapped_column(ForeignKey("transfer.id"))
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    note: Mapped[str]
    at: Mapped[datetime]


class Lot(Base):
    """Money that came in together: who paid for it (somebody or nobody), and what is left of it.

    The credit lot, one for each wallet, brings nothing and stands at zero or below: what is spent
    on credit is owed there until money comes in. `is_open` lets the index of lots that can pay
    stay as it is while a lot is spent, so that a charge touches no index.
    """

    __tablename__ = "lot"
    __table_args__ = (
        CheckConstraint("kind IN ('promotional', 'paid', 'credit')", name="kind"),
        CheckConstraint(
            "CASE WHEN kind = 'credit'"
            " THEN amount_micros = 0 AND remaining_micros <= 0 AND expires_at IS NULL"
            " ELSE amount_micros > 0 AND remaining_micros BETWEEN 0 AND amount_micros END",
            name="remaining",
        ),
        CheckConstraint("(kind = 'credit') = (transfer_id IS NULL)", name="names_transfer"),
        CheckConstraint("is_open = (kind = 'credit' OR remaining_micros > 0)", name="is_open"),
        Index("ix_lot_organisation_id", "organisation_id", postgresql_where=text("is_open")),
        Index(
            "ix_lot_organisation_id_created_at_id",
            "organisation_id",
            "created_at",
            "id",
        ),
        Index(
            "ix_lot_expires_at",
            "expires_at",
            postgresql_where=text("is_open AND expires_at IS NOT NULL"),
        ),
        Index(
            "uq_lot_credit",
            "organisation_id",
            unique=True,
            postgresql_where=text("kind = 'credit'"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    amount_micros: Mapped[int]
    remaining_micros: Mapped[int]
    is_open: Mapped[bool]
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey("transfer.id"), unique=True)


class LotSpend(Base):
    """What a transfer took out of a lot; negative: what it put back. Append-only."""

    __tablename__ = "lot_spend"
    __table_args__ = (CheckConstraint("amount_micros <> 0", name="amount"),)

    transfer_id: Mapped[int] = mapped_column(ForeignKey("transfer.id"), primary_key=True)
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    lot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lot.id"))
    amount_micros: Mapped[int]


class WalletChange(Base):
    """A wallet was frozen or freed, or its credit limit set: by whom, why and when. Append-only.

    The last row of a `cause` says whether the wallet is frozen for it.
    """

    __tablename__ = "wallet_change"
    __table_args__ = (
        CheckConstraint("kind IN ('freeze', 'unfreeze', 'credit_limit')", name="kind"),
        CheckConstraint(
            "(kind = 'credit_limit') = (credit_limit_micros IS NOT NULL)", name="names_limit"
        ),
        CheckConstraint("(kind = 'credit_limit') = (cause IS NULL)", name="names_cause"),
        CheckConstraint(
            "cause IN ('operator', 'dispute_lost', 'dispute', 'overdue')", name="cause"
        ),
        Index("ix_wallet_change_organisation_id_id", "organisation_id", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    cause: Mapped[str | None]
    credit_limit_micros: Mapped[int | None]
    reason: Mapped[str]
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    at: Mapped[datetime]
