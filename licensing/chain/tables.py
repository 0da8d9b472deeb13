"""The chain's own tables: rows that wait to be linked, links, and signed checkpoints.

Written by `licensing.chain.seal`, `erasure` and `checkpoints` alone. A trigger on each logged table
adds to `chain_pending`; triggers refuse every change of a link but the loss of its salt.
"""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, Identity, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from licensing.db import Base

# The chain of what concerns no single organisation: prices, models, the operator's statements.
STUDIO = uuid.UUID(int=0)


class ChainPending(Base):
    """A row that was written and is not linked yet; it commits with the row that it names."""

    __tablename__ = "chain_pending"
    __table_args__ = (Index("ix_chain_pending_chain_id_id", "chain_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    chain_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    key: Mapped[str]


class ChainLink(Base):
    """One row of the log in its place; see `licensing.chain.links` for what is hashed."""

    __tablename__ = "chain_link"
    __table_args__ = (
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("octet_length(digest) = 32", name="digest"),
        CheckConstraint("octet_length(previous) = 32", name="previous"),
        CheckConstraint("salt IS NULL OR words_hash IS NOT NULL", name="salt"),
        UniqueConstraint("kind", "key"),
    )

    chain_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    key: Mapped[str]
    layout: Mapped[int]
    fields_hash: Mapped[bytes] = mapped_column(LargeBinary)
    words_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime]
    previous: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class ChainCheckpoint(Base):
    """A signed word about how far a chain had come; copies are kept elsewhere."""

    __tablename__ = "chain_checkpoint"

    chain_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[str]
    key: Mapped[str]
    made_at: Mapped[datetime]
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
