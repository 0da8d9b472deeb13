"""What closing a month stores: the month with its control totals, and its files, byte for byte.

`licensing.bills.close` alone writes here. A month is sealed first and closed once; files and their
parts are append-only. Parts are compressed, each for itself, so that a file is read in pieces.
"""

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from licensing.db import Base


class BillMonth(Base):
    """A month of an organisation that takes no more lines; with `closed_at` its figures are final.

    `opening_micros` and `closing_micros` are the wallet's settled balance at both ends; what lies
    between them is `movements` (by kind of transfer, signed) less `amount_micros` (of the lines).
    """

    __tablename__ = "bill_month"
    __table_args__ = (
        CheckConstraint("date_trunc('month', starts_on) = starts_on", name="starts"),
        CheckConstraint("sealed_at >= ends_at", name="ended"),
        CheckConstraint(
            "num_nulls(closed_at, lines, generations, images, amount_micros, opening_micros,"
            " closing_micros, movements) IN (0, 8)",
            name="closed",
        ),
    )

    organisation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    starts_on: Mapped[date] = mapped_column(primary_key=True)
    ends_at: Mapped[datetime]
    organisation_name: Mapped[str]
    sealed_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    lines: Mapped[int | None]
    generations: Mapped[int | None]
    images: Mapped[int | None]
    amount_micros: Mapped[int | None]
    opening_micros: Mapped[int | None]
    closing_micros: Mapped[int | None]
    movements: Mapped[dict[str, Any] | None]


class BillFile(Base):
    """One file of a closed month; `profile` names the layout and its version."""

    __tablename__ = "bill_file"
    __table_args__ = (
        UniqueConstraint("organisation_id", "starts_on", "format"),
        ForeignKeyConstraint(
            ["organisation_id", "starts_on"],
            ["bill_month.organisation_id", "bill_month.starts_on"],
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID]
    starts_on: Mapped[date]
    format: Mapped[str]
    profile: Mapped[str]
    rows: Mapped[int]
    size_bytes: Mapped[int]
    sha256: Mapped[str]


class BillFilePart(Base):
    """A piece of a file: `size_bytes` before its compression."""

    __tablename__ = "bill_file_part"

    file_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("bill_file.id", deferrable=True, initially="DEFERRED"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]
    content: Mapped[bytes]
