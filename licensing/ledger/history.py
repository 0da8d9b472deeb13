"""What happened to an organisation's money, for pages and bills: transfers, lots, changes."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from licensing.ledger.tables import Hold, Lot, LotSpend, Transfer, WalletChange


@dataclass(frozen=True)
class Spend:
    """How much of a charge a lot bears now; refunds are taken off."""

    lot_id: uuid.UUID
    kind: str
    amount_micros: int
    expires_at: datetime | None
    lot_key: str | None


def transfers(
    session: Session, organisation_id: uuid.UUID, *, limit: int, before_id: int | None = None
) -> list[Transfer]:
    """The latest movements of an organisation's money, newest first."""
    query = select(Transfer).where(Transfer.organisation_id == organisation_id)
    if before_id is not None:
        query = query.where(Transfer.id < before_id)
    return list(session.scalars(query.order_by(Transfer.id.desc()).limit(limit)))


def movements(
    session: Session,
    organisation_id: uuid.UUID,
    *,
    limit: int,
    before_id: int | None = None,
    since: datetime | None = None,
) -> list[Transfer]:
    """What came in, went back or ran out (all but the charges for pictures), newest first."""
    query = select(Transfer).where(
        Transfer.organisation_id == organisation_id, Transfer.kind != "settle"
    )
    if before_id is not None:
        query = query.where(Transfer.id < before_id)
    if since is not None:
        query = query.where(Transfer.at >= since)
    return list(session.scalars(query.order_by(Transfer.id.desc()).limit(limit)))


def lots(
    session: Session, organisation_id: uuid.UUID, *, limit: int, open_only: bool = False
) -> list[Lot]:
    """An organisation's lots, those that can still pay first, in the order in which they pay.

    What is owed on credit is no lot of these; the balance says it.
    """
    query = select(Lot).where(Lot.organisation_id == organisation_id, Lot.kind != "credit")
    if open_only:
        query = query.where(Lot.is_open)
    order = (Lot.is_open.desc(), Lot.kind.desc(), Lot.expires_at, Lot.created_at, Lot.id)
    return list(session.scalars(query.order_by(*order).limit(limit)))


def spends_of(session: Session, generation_id: uuid.UUID) -> list[Spend]:
    """Which lots bear what a generation was charged, the first payer first."""
    charge = (
        select(Transfer.id)
        .join(Hold, Hold.id == Transfer.hold_id)
        .where(Hold.generation_id == generation_id)
        .scalar_subquery()
    )
    brought = aliased(Transfer)
    amount = func.sum(LotSpend.amount_micros)
    query = (
        select(Lot.id, Lot.kind, amount, Lot.expires_at, brought.key)
        .join(LotSpend, LotSpend.lot_id == Lot.id)
        .join(Transfer, Transfer.id == LotSpend.transfer_id)
        .outerjoin(brought, brought.id == Lot.transfer_id)
        .where((Transfer.id == charge) | (Transfer.origin_id == charge))
        .group_by(Lot.id, brought.id)
        .having(amount != 0)
        .order_by(Lot.kind.desc(), Lot.expires_at, Lot.created_at, Lot.id)
    )
    return [
        Spend(lot_id, kind, int(micros), expires_at, key)
        for lot_id, kind, micros, expires_at, key in session.execute(query)
    ]


def wallet_changes(
    session: Session, organisation_id: uuid.UUID, *, limit: int
) -> list[WalletChange]:
    """When a wallet was frozen, freed or given a credit limit, newest first."""
    query = select(WalletChange).where(WalletChange.organisation_id == organisation_id)
    return list(session.scalars(query.order_by(WalletChange.id.desc()).limit(limit)))
