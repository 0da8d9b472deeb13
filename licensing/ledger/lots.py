"""Lots: what came in together, which lot pays first, and what runs out.

A spend takes promotional money before paid, then what runs out first, then the oldest. Each change
of a lot is a row of `lot_spend`. Everything here expects the wallet's lock (`wallet.lock`).
"""

import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing.ledger import statements
from licensing.ledger.posting import Entry, post
from licensing.ledger.tables import Lot, Transfer
from licensing.ledger.wallet import lock

WALLETS_AT_ONCE_MAX = 100  # keeps one sweep's transaction short; the next sweep takes the rest


def expire_lots(session: Session, at: datetime) -> list[Transfer]:
    """Take out what ran out before `at`, of at most 100 wallets; returns the transfers.

    What open holds may need is left for them: it goes when they are resolved and it was not spent.
    Wallets whose holds may need all of it are passed over: they keep nobody from their turn.
    """
    values = {"at": at, "limit": WALLETS_AT_ONCE_MAX}
    made: list[Transfer] = []
    for organisation_id in session.execute(statements.DUE_LOTS, values).scalars().all():
        made += _expire_of_wallet(session, organisation_id, at)
    return made


def open_lot(session: Session, entry: Transfer, kind: str, expires_at: datetime | None) -> Lot:
    """Keep what `entry` brought as a lot of `kind`, and pay what is owed on credit from it."""
    lot = Lot(
        id=uuid.uuid4(),
        organisation_id=entry.organisation_id,
        kind=kind,
        amount_micros=entry.amount_micros,
        remaining_micros=entry.amount_micros,
        is_open=True,
        expires_at=expires_at,
        created_at=entry.at,
        transfer_id=entry.id,
    )
    session.add(lot)
    session.flush()
    values = {"organisation_id": entry.organisation_id, "transfer_id": entry.id}
    session.execute(statements.REPAY, values)
    session.expire(lot)
    return lot


def take(session: Session, entry: Transfer, *, first_id: uuid.UUID | None = None) -> None:
    """Let the lots pay for `entry` in their order, the lot `first_id` before all others."""
    values = {
        "organisation_id": entry.organisation_id,
        "transfer_id": entry.id,
        "amount_micros": entry.amount_micros,
        "first_id": first_id,
    }
    session.execute(statements.TAKE, values)


def lot_of(session: Session, entry: Transfer) -> Lot:
    """Read the lot that `entry` brought, as it is now."""
    query = select(Lot).where(Lot.transfer_id == entry.id)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _expire_of_wallet(session: Session, organisation_id: uuid.UUID, at: datetime) -> list[Transfer]:
    free_micros = lock(session, organisation_id).available_micros
    due = select(Lot).where(
        Lot.organisation_id == organisation_id, Lot.is_open, Lot.expires_at <= at
    )
    made: list[Transfer] = []
    for lot in session.scalars(
        due.order_by(Lot.expires_at, Lot.created_at, Lot.id).execution_options(
            populate_existing=True
        )
    ).all():
        amount_micros = min(lot.remaining_micros, free_micros)
        if amount_micros <= 0:
            break
        free_micros -= amount_micros
        entry = Entry(
            organisation_id=organisation_id,
            kind="expire",
            source="wallet",
            destination="breakage",
            amount_micros=amount_micros,
            key=f"{lot.id}:{uuid.uuid4()}",  # the lock and `remaining` make it happen once
            author_id=None,
            note=f"Ran out on {at:%Y-%m-%d}.",
            origin_id=lot.transfer_id,
        )
        made.append(post(session, entry))
        take(session, made[-1], first_id=lot.id)
    return made
