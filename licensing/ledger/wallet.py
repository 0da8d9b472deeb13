"""The wallet: its balance, its lock, whether it is frozen, and how far it may go below zero.

Freezing stops new holds at once and lets running work end and be charged. A wallet may be frozen
for several causes; each is lifted by itself, and work goes on when none is left. Each change of the
wallet is a row of `wallet_change` with its author and reason; the last one of a cause counts.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from licensing.errors import AtelierError
from licensing.ledger import statements
from licensing.ledger.tables import Account, WalletChange
from licensing.money import AMOUNT_MICROS_MAX, InvalidAmount, format_usd

KEY_CHARACTERS_MAX = 200  # a payment provider's event id is a third of that
NOTE_CHARACTERS_MAX = 500

Cause = Literal["operator", "dispute_lost", "dispute", "overdue"]
BY_HAND: tuple[Cause, ...] = ("operator", "dispute_lost")  # the others end when their reason does


class InvalidEntry(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A movement of money without a usable key, or without a reason where one is needed."""

    code = "invalid_entry"
    status = 422


@dataclass(frozen=True)
class Balance:
    """A wallet: `available` = `settled` - `held`. Pages show all three, and the credit apart."""

    settled_micros: int
    held_micros: int
    credit_limit_micros: int = 0
    frozen_reason: str | None = None

    @property
    def available_micros(self) -> int:
        """The organisation's own money that no work is waiting for; below zero it owes."""
        return self.settled_micros - self.held_micros

    @property
    def spendable_micros(self) -> int:
        """What new work may cost: what is available and the credit; nothing while frozen."""
        if self.frozen_reason is not None:
            return 0
        return max(0, self.available_micros + self.credit_limit_micros)


def balance(session: Session, organisation_id: uuid.UUID) -> Balance:
    """Read a wallet; an organisation that never topped up has nothing."""
    query = select(
        Account.settled_micros,
        Account.held_micros,
        Account.credit_limit_micros,
        Account.frozen_reason,
    ).where(Account.organisation_id == organisation_id, Account.kind == "wallet")
    found = session.execute(query).one_or_none()
    return Balance(*found) if found is not None else Balance(0, 0)


def freeze(
    session: Session,
    organisation_id: uuid.UUID,
    reason: str,
    *,
    author_id: uuid.UUID | None,
    cause: Cause = "operator",
) -> bool:
    """Stop new holds; `reason` is shown to whoever meets it. False if it stood so already."""
    checked_words(reason)
    lock(session, organisation_id)
    if _freezes(session, organisation_id).get(cause) == reason:
        return False
    _record(session, organisation_id, "freeze", reason=reason, author_id=author_id, cause=cause)
    _show_freezes(session, organisation_id)
    return True


def unfreeze(
    session: Session,
    organisation_id: uuid.UUID,
    *,
    author_id: uuid.UUID | None,
    reason: str,
    causes: Collection[Cause] = BY_HAND,
) -> bool:
    """Lift what a wallet is frozen for; others of its causes go on. False if none of these was one.

    The default is what a person may lift: an open dispute ends by the bank's word, an invoice that
    is long overdue by its payment.
    """
    checked_words(reason)
    lock(session, organisation_id)
    lifted = [cause for cause in _freezes(session, organisation_id) if cause in causes]
    for cause in lifted:
        _record(
            session, organisation_id, "unfreeze", reason=reason, author_id=author_id, cause=cause
        )
    _show_freezes(session, organisation_id)
    return bool(lifted)


def set_credit_limit(
    session: Session,
    organisation_id: uuid.UUID,
    amount_micros: int,
    *,
    author_id: uuid.UUID | None,
    reason: str,
) -> bool:
    """Let work be held down to `amount_micros` (0: none) below zero. False if it stood so already.

    A limit below what is owed takes nothing back; it stops new work. Raises `InvalidAmount`.
    """
    checked_words(reason)
    if type(amount_micros) is not int or not 0 <= amount_micros <= AMOUNT_MICROS_MAX:
        raise InvalidAmount(
            f"A credit limit is between $0 and {format_usd(AMOUNT_MICROS_MAX)}, in whole micros."
        )
    if lock(session, organisation_id).credit_limit_micros == amount_micros:
        return False
    _set(session, organisation_id, credit_limit_micros=amount_micros)
    _record(
        session,
        organisation_id,
        "credit_limit",
        credit_limit_micros=amount_micros,
        reason=reason,
        author_id=author_id,
    )
    return True


def lock(session: Session, organisation_id: uuid.UUID) -> Balance:
    """Open the accounts if need be and lock the wallet: nobody moves its money until we commit."""
    values = {"organisation_id": organisation_id}
    found = session.execute(statements.LOCK_WALLET, values).one_or_none()
    if found is None:
        session.execute(statements.OPEN_ACCOUNTS, values)
        found = session.execute(statements.LOCK_WALLET, values).one()
    return Balance(*found)


def checked_words(reason: str) -> str:
    """Return a reason that somebody can read later; raises `InvalidEntry`."""
    if not reason.strip() or len(reason) > NOTE_CHARACTERS_MAX:
        raise InvalidEntry(f"Say why, in 1 to {NOTE_CHARACTERS_MAX} characters.")
    return reason


def _freezes(session: Session, organisation_id: uuid.UUID) -> dict[Cause, str]:
    """What the wallet is frozen for, by cause, the oldest first. The caller holds its lock."""
    rows = session.execute(statements.FREEZES, {"organisation_id": organisation_id})
    return {row.cause: row.reason for row in rows}


def _show_freezes(session: Session, organisation_id: uuid.UUID) -> None:
    reasons = _freezes(session, organisation_id).values()
    _set(session, organisation_id, frozen_reason="; ".join(reasons) or None)


def _set(session: Session, organisation_id: uuid.UUID, **values: object) -> None:
    session.execute(
        update(Account)
        .where(Account.organisation_id == organisation_id, Account.kind == "wallet")
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _record(
    session: Session,
    organisation_id: uuid.UUID,
    kind: str,
    *,
    reason: str,
    author_id: uuid.UUID | None,
    cause: Cause | None = None,
    credit_limit_micros: int | None = None,
) -> None:
    session.add(
        WalletChange(
            organisation_id=organisation_id,
            kind=kind,
            cause=cause,
            credit_limit_micros=credit_limit_micros,
            reason=reason,
            author_id=author_id,
            at=func.statement_timestamp(),
        )
    )
    session.flush()
