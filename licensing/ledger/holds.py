"""The two phases of a job's money: hold, then settle or release; or it expires.

The hot path: each verb is one round trip. `webapp.generate` takes the hold that ends its
transaction; the worker and the sweep settle and release.
"""

import uuid
from datetime import datetime, timedelta
from typing import Any

from psycopg.errors import CheckViolation, UniqueViolation
from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from licensing.db import commit_with, roll_back
from licensing.errors import AtelierError, Conflict
from licensing.ledger import statements
from licensing.ledger.tables import Hold
from licensing.ledger.wallet import balance
from licensing.money import checked, format_usd

HOLD_LIFETIME = timedelta(hours=24)  # a job may wait a night for a worker, not for ever
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


class WalletFrozen(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The wallet takes no new holds, whatever it has; nothing was changed."""

    code = "wallet_frozen"
    status = 402

    def __init__(self, *, reason: str, payers: list[str]) -> None:
        """Say why (`reason`, a sentence), and who can put it right."""
        self.reason = reason
        who = " or ".join(payers) or "An owner of your organisation"
        super().__init__(
            f"Your organisation's balance is frozen: {reason.rstrip('.')}. Work that runs already "
            f"is finished. {who} can put this right."
        )


def hold(
    session: Session,
    *,
    organisation_id: uuid.UUID,
    member_id: uuid.UUID,
    generation_id: uuid.UUID,
    amount_micros: int,
    price_version: str,
    lifetime: timedelta = HOLD_LIFETIME,
) -> Hold:
    """Reserve the most that a generation can cost, in one statement.

    The wallet is locked from here to the commit; `hold_and_commit` is for those who hold last.
    Raises `InsufficientBalance` or `WalletFrozen` (nothing changed), `Conflict` if the generation
    has a hold already, and `InvalidAmount`.
    """
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "organisation_id": organisation_id,
        "member_id": member_id,
        "generation_id": generation_id,
        "amount_micros": checked(amount_micros),
        "price_version": price_version,
    }
    try:
        taken = _run(session, statements.HOLD, {**values, "lifetime": lifetime, "must": False})
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        raise Conflict("This generation has its money on hold already.") from error
    if taken is None:
        raise _refusal(session, organisation_id, amount_micros)
    return Hold(
        **values,
        account_id=taken.account_id,
        state="held",
        created_at=taken.created_at,
        expires_at=taken.expires_at,
    )


def hold_and_commit(
    session: Session,
    *,
    organisation_id: uuid.UUID,
    member_id: uuid.UUID,
    generation_id: uuid.UUID,
    amount_micros: int,
    price_version: str,
) -> None:
    """Reserve as `hold`, and commit the transaction with it: let this be the last thing it does.

    The statement and the COMMIT go to the server together, so that a busy wallet is locked for as
    long as the server writes, and for no journey to this process and back. Raises as `hold`; then
    the transaction is rolled back, whatever it had written.
    """
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "organisation_id": organisation_id,
        "member_id": member_id,
        "generation_id": generation_id,
        "amount_micros": checked(amount_micros),
        "price_version": price_version,
        "lifetime": HOLD_LIFETIME,
        "must": True,
    }
    try:
        commit_with(session, statements.HOLD, values)
    except IntegrityError as error:
        roll_back(session)
        if isinstance(error.orig, UniqueViolation):
            raise Conflict("This generation has its money on hold already.") from error
        if _is_uncovered(error):
            raise _refusal(session, organisation_id, amount_micros) from None
        raise


def settle(session: Session, generation_id: uuid.UUID, amount_micros: int) -> bool:
    """Charge `amount_micros` (0 to the held amount) and free the rest of the hold.

    True for the one call that resolved the hold; False if it was resolved before or never was.
    The wallet is locked from here to the commit, so let this be the last thing a transaction does.
    Raises `ValueError` for more than was held: no job may cost more than its quote.
    """
    if type(amount_micros) is not int or amount_micros < 0:
        raise ValueError(f"cannot settle {amount_micros!r} micros")
    values = {"generation_id": generation_id, "amount_micros": amount_micros}
    done = _run(session, statements.SETTLE, values)
    if done is None:
        found = get_hold(session, generation_id)
        if found is not None and found.state == "held":
            raise ValueError(f"cannot settle {amount_micros} micros of {found.amount_micros} held")
        return False
    if done.transfer_id is not None and done.lot_id is None:
        payment = {
            "organisation_id": done.organisation_id,
            "transfer_id": done.transfer_id,
            "amount_micros": amount_micros,
            "first_id": None,
        }
        session.execute(statements.TAKE, payment)
    return True


def release(session: Session, generation_id: uuid.UUID, reason: str) -> bool:
    """Free the whole hold: failed, cancelled and refused work costs nothing.

    True for the one call that resolved the hold.
    """
    values = {"generation_id": generation_id, "reason": reason}
    return _run(session, statements.RELEASE, values) is not None


def expire_holds(session: Session, at: datetime) -> list[uuid.UUID]:
    """Free the holds whose lifetime ended before `at`; returns their generations, at most 500.

    A hold that another transaction is resolving at this moment is left to it.
    """
    values = {"at": at, "limit": EXPIRED_AT_ONCE_MAX}
    return list(session.execute(statements.EXPIRE_HOLDS, values).scalars())


def get_hold(session: Session, generation_id: uuid.UUID) -> Hold | None:
    """Read the hold of a generation as it is now."""
    query = select(Hold).where(Hold.generation_id == generation_id)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _run(session: Session, statement: str, values: dict[str, Any]) -> Row[Any] | None:
    """Run a statement of the hot path after everything else is written: it locks the wallet."""
    session.flush()
    return session.connection().exec_driver_sql(statement, values).one_or_none()


def _is_uncovered(error: IntegrityError) -> bool:
    cause = error.orig
    return isinstance(cause, CheckViolation) and cause.diag.constraint_name == "ck_hold_covered"


def _refusal(session: Session, organisation_id: uuid.UUID, amount_micros: int) -> AtelierError:
    """Say why the wallet gave nothing, as of now."""
    wallet = balance(session, organisation_id)
    payers = list(
        session.execute(statements.PAYERS, {"organisation_id": organisation_id}).scalars()
    )
    if wallet.frozen_reason is not None:
        return WalletFrozen(reason=wallet.frozen_reason, payers=payers)
    return InsufficientBalance(
        amount_micros=amount_micros, available_micros=wallet.spendable_micros, payers=payers
    )
