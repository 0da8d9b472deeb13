"""The ledger: double entry, append-only, in two phases; integer microdollars.

Owns `account`, `transfer` and `hold`. A top-up moves money from an organisation's cash account to
its wallet. A job first *holds* the most it can cost, then is *settled* for what it did cost (wallet
to revenue; the rest of the hold is free again) or *released*. What must hold:

- A hold is resolved at most once, whoever comes first: worker, cancellation or sweep. One
  compare-and-set on its row decides, and the same statement moves the money.
- Check and act are one statement: `UPDATE account ... WHERE settled - held >= amount`. Nothing
  here reads a balance, computes in Python and writes it back.
- `account.settled_micros` and `held_micros` are a cache for that statement. The truth is the
  transfers and the open holds; `licensing.audit` re-adds them.
- Constraints and triggers keep these promises against a hand on the database, too.

Callers pass a session and commit; take the hold as the last lock of a transaction, because a busy
wallet is one row. Never hold a transaction open over network, GPU or file work.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.errors import UniqueViolation
from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import ledger_statements
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict
from licensing.money import checked, format_usd

HOLD_LIFETIME = timedelta(hours=24)  # a job may wait a night for a worker, not for ever
KEY_CHARACTERS_MAX = 200  # a payment provider's event id is a third of that
NOTE_CHARACTERS_MAX = 500
EXPIRED_AT_ONCE_MAX = 500  # keeps one sweep's transaction short; the next sweep takes the rest


class InsufficientBalance(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The wallet has less available than the hold asks for; nothing was changed."""

    code = "insufficient_balance"
    status = 402

    def __init__(self, *, amount_micros: int, available_micros: int, payers: list[str]) -> None:
        """Say how much is missing, and who (`payers`, by name) can put it there."""
        self.available_micros = available_micros
        self.missing_micros = amount_micros - available_micros
        who = " or ".join(payers) or "An owner of your organisation"
        super().__init__(
            f"This costs {format_usd(amount_micros)} and {format_usd(available_micros)} is "
            f"available: {format_usd(self.missing_micros)} is missing. {who} can top up."
        )


@dataclass(frozen=True)
class Balance:
    """A wallet: `available` = `settled` - `held`. Pages show all three."""

    settled_micros: int
    held_micros: int

    @property
    def available_micros(self) -> int:
        """What new work may cost."""
        return self.settled_micros - self.held_micros


def hold(
    session: Session,
    *,
    organisation_id: uuid.UUID,
    member_id: uuid.UUID,
    generation_id: uuid.UUID,
    amount_micros: int,
    price_version: str,
    lifetime: timedelta = HOLD_LIFETIME,
) -> "Hold":
    """Reserve the most that a generation can cost, in one statement.

    Raises `InsufficientBalance` (nothing changed), `Conflict` if the generation has a hold already,
    and `InvalidAmount`.
    """
    at = now()
    values = {
        "id": uuid.uuid4(),
        "organisation_id": organisation_id,
        "member_id": member_id,
        "generation_id": generation_id,
        "amount_micros": checked(amount_micros),
        "price_version": price_version,
        "created_at": at,
        "expires_at": at + lifetime,
    }
    try:
        taken: Hold | None = session.scalars(
            select(Hold).from_statement(ledger_statements.HOLD), values
        ).one_or_none()
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        raise Conflict("This generation has its money on hold already.") from error
    if taken is None:
        raise InsufficientBalance(
            amount_micros=amount_micros,
            available_micros=balance(session, organisation_id).available_micros,
            payers=_payers(session, organisation_id),
        )
    return taken


def settle(session: Session, generation_id: uuid.UUID, amount_micros: int) -> bool:
    """Charge `amount_micros` (0 to the held amount) and free the rest of the hold.

    True for the one call that resolved the hold; False if it was resolved before or never was.
    Raises `ValueError` for more than was held: no job may cost more than its quote.
    """
    if type(amount_micros) is not int or amount_micros < 0:
        raise ValueError(f"cannot settle {amount_micros!r} micros")
    values = {"generation_id": generation_id, "amount_micros": amount_micros, "at": now()}
    if session.execute(ledger_statements.SETTLE, values).one_or_none() is not None:
        return True
    found = get_hold(session, generation_id)
    if found is not None and found.state == "held":
        raise ValueError(f"cannot settle {amount_micros} micros of {found.amount_micros} held")
    return False


def release(session: Session, generation_id: uuid.UUID, reason: str) -> bool:
    """Free the whole hold: failed, cancelled and refused work costs nothing.

    True for the one call that resolved the hold.
    """
    values = {"generation_id": generation_id, "reason": reason, "at": now()}
    return session.execute(ledger_statements.RELEASE, values).one_or_none() is not None


def expire_holds(session: Session, at: datetime) -> list[uuid.UUID]:
    """Free the holds whose lifetime ended before `at`; returns their generations, at most 500.

    A hold that another transaction is resolving at this moment is left to it.
    """
    values = {"at": at, "limit": EXPIRED_AT_ONCE_MAX}
    return list(session.execute(ledger_statements.EXPIRE, values).scalars())


def top_up(
    session: Session,
    organisation_id: uuid.UUID,
    amount_micros: int,
    *,
    key: str,
    author_id: uuid.UUID | None,
    note: str,
) -> "Transfer":
    """Put money into a wallet. The same `key` again returns the first transfer and moves nothing.

    Raises `InvalidAmount`, and `Conflict` if the key was used for another amount.
    """
    if not 1 <= len(key) <= KEY_CHARACTERS_MAX or len(note) > NOTE_CHARACTERS_MAX:
        raise ValueError("a top-up needs a key of 1-200 and a note of at most 500 characters")
    values = {
        "organisation_id": organisation_id,
        "amount_micros": checked(amount_micros),
        "key": f"top_up:{key}",
        "author_id": author_id,
        "note": note,
        "at": now(),
    }
    session.execute(ledger_statements.OPEN_ACCOUNTS, {**_new_account_ids(), **values})
    session.execute(ledger_statements.TOP_UP, values)
    query = select(Transfer).where(
        Transfer.organisation_id == organisation_id, Transfer.key == values["key"]
    )
    made = session.scalars(query).one()
    if made.amount_micros != amount_micros:
        raise Conflict("This top-up was made already, with another amount.")
    return made


def balance(session: Session, organisation_id: uuid.UUID) -> Balance:
    """Read a wallet; an organisation that never topped up has nothing."""
    query = select(Account.settled_micros, Account.held_micros).where(
        Account.organisation_id == organisation_id, Account.kind == "wallet"
    )
    found = session.execute(query).one_or_none()
    return Balance(*found) if found is not None else Balance(0, 0)


def get_hold(session: Session, generation_id: uuid.UUID) -> "Hold | None":
    """Read the hold of a generation as it is now."""
    query = select(Hold).where(Hold.generation_id == generation_id)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def transfers(
    session: Session, organisation_id: uuid.UUID, *, limit: int, before_id: int | None = None
) -> list["Transfer"]:
    """The latest movements of an organisation's money, newest first."""
    query = select(Transfer).where(Transfer.organisation_id == organisation_id)
    if before_id is not None:
        query = query.where(Transfer.id < before_id)
    return list(session.scalars(query.order_by(Transfer.id.desc()).limit(limit)))


def _payers(session: Session, organisation_id: uuid.UUID) -> list[str]:
    return list(
        session.execute(ledger_statements.PAYERS, {"organisation_id": organisation_id}).scalars()
    )


def _new_account_ids() -> dict[str, uuid.UUID]:
    return {"wallet_id": uuid.uuid4(), "cash_id": uuid.uuid4(), "revenue_id": uuid.uuid4()}


class Account(Base):
    """A pot of an organisation's money: cash (paid in), wallet (can be spent) or revenue (earned).

    Only the wallet keeps its figures in the row, because only the wallet is checked before it is
    used; the others are added up from transfers when somebody asks.
    """

    __tablename__ = "account"
    __table_args__ = (
        UniqueConstraint("organisation_id", "kind"),
        CheckConstraint("kind IN ('cash', 'wallet', 'revenue')", name="kind"),
        CheckConstraint("held_micros >= 0 AND held_micros <= settled_micros", name="covered"),
        CheckConstraint(
            "kind = 'wallet' OR (settled_micros = 0 AND held_micros = 0)", name="only_wallets_cache"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    settled_micros: Mapped[int]
    held_micros: Mapped[int]


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
        Index("ix_hold_account_id", "account_id", postgresql_where=text("state = 'held'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
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
    """Money that moved from `source` to `destination`, once, for ever. Append-only."""

    __tablename__ = "transfer"
    __table_args__ = (
        UniqueConstraint("organisation_id", "key"),
        CheckConstraint("amount_micros > 0", name="amount"),
        CheckConstraint("source_id <> destination_id", name="two_accounts"),
        CheckConstraint("kind IN ('top_up', 'settle')", name="kind"),
        CheckConstraint("(kind = 'settle') = (hold_id IS NOT NULL)", name="settle_names_hold"),
        Index("ix_transfer_organisation_id_id", "organisation_id", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    source_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    destination_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    amount_micros: Mapped[int]
    key: Mapped[str]
    hold_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("hold.id"), unique=True)
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    note: Mapped[str]
    at: Mapped[datetime]
