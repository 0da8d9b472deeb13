"""What owners and finance have to know about money: shown until it is no longer so, mailed once.

Owns `payment_notice` and `balance_alert`. One notice of a kind is open at a time for an
organisation, so that a balance around its threshold does not fill anybody's letter box.
"""

import uuid
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from licensing.db import now
from licensing.errors import Conflict, NotFound
from licensing.ledger import Account
from licensing.money import AMOUNT_MICROS_MAX, InvalidAmount, format_usd
from licensing.payments.tables import BalanceAlert, PaymentNotice

MAILS_AT_ONCE_MAX = 20
# A notice of these kinds says what has happened; the others end when their cause ends.
DISMISSABLE = frozenset({"automatic_off", "dispute_lost", "refund_failed", "seats_unpaid"})


def show(session: Session, organisation_id: uuid.UUID, kind: str, sentence: str) -> None:
    """Open a notice, unless one of this kind is open."""
    session.execute(
        insert(PaymentNotice)
        .values(organisation_id=organisation_id, kind=kind, sentence=sentence, created_at=now())
        .on_conflict_do_nothing(
            index_elements=[PaymentNotice.organisation_id, PaymentNotice.kind],
            index_where=PaymentNotice.cleared_at.is_(None),
        )
    )


def clear(session: Session, organisation_id: uuid.UUID, kind: str) -> None:
    """Its cause is gone."""
    session.execute(
        update(PaymentNotice)
        .where(
            PaymentNotice.organisation_id == organisation_id,
            PaymentNotice.kind == kind,
            PaymentNotice.cleared_at.is_(None),
        )
        .values(cleared_at=now())
    )


def dismiss(session: Session, organisation_id: uuid.UUID, notice_id: int) -> None:
    """Somebody has read it. Raises `NotFound`, and `Conflict` while its cause lasts."""
    notice = session.get(PaymentNotice, notice_id, with_for_update=True, populate_existing=True)
    if notice is None or notice.organisation_id != organisation_id:
        raise NotFound("There is no such notice.")
    if notice.kind not in DISMISSABLE:
        raise Conflict("This notice goes away by itself when its cause does.")
    notice.cleared_at = notice.cleared_at or now()


def open_notices(session: Session, organisation_id: uuid.UUID) -> list[PaymentNotice]:
    """What an organisation has to know now, newest first."""
    query = select(PaymentNotice).where(
        PaymentNotice.organisation_id == organisation_id, PaymentNotice.cleared_at.is_(None)
    )
    return list(session.scalars(query.order_by(PaymentNotice.id.desc())))


def take_unmailed(session: Session) -> list[PaymentNotice]:
    """Take notices to mail, marked as mailed: of two processes each takes its own."""
    waiting = (
        select(PaymentNotice.id)
        .where(PaymentNotice.mailed_at.is_(None), PaymentNotice.cleared_at.is_(None))
        .order_by(PaymentNotice.id)
        .limit(MAILS_AT_ONCE_MAX)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(PaymentNotice)
        .where(PaymentNotice.id.in_(waiting.scalar_subquery()))
        .values(mailed_at=now())
        .returning(PaymentNotice)
        .execution_options(synchronize_session=False)
    )
    return list(session.scalars(taken))


def set_alert(
    session: Session,
    organisation_id: uuid.UUID,
    threshold_micros: int | None,
    *,
    author_id: uuid.UUID,
) -> None:
    """Say below how much to warn; None: never. Raises `InvalidAmount`."""
    if threshold_micros is None:
        session.execute(
            BalanceAlert.__table__.delete().where(  # type: ignore[attr-defined]
                BalanceAlert.organisation_id == organisation_id
            )
        )
        clear(session, organisation_id, "low_balance")
        return
    if type(threshold_micros) is not int or not 0 < threshold_micros <= AMOUNT_MICROS_MAX:
        raise InvalidAmount(f"Warn below more than $0 and at most {format_usd(AMOUNT_MICROS_MAX)}.")
    values = {"threshold_micros": threshold_micros, "author_id": author_id, "changed_at": now()}
    session.execute(
        insert(BalanceAlert)
        .values(organisation_id=organisation_id, **values)
        .on_conflict_do_update(index_elements=[BalanceAlert.organisation_id], set_=values)
    )


def alert_of(session: Session, organisation_id: uuid.UUID) -> int | None:
    """Below how much an organisation wants to be told."""
    query = select(BalanceAlert.threshold_micros).where(
        BalanceAlert.organisation_id == organisation_id
    )
    return session.scalars(query).one_or_none()


def compare_balances(session: Session, at: datetime) -> int:
    """Open and close the notices about low balances; return how many were opened."""
    available = func.coalesce(Account.settled_micros - Account.held_micros, 0)
    wallets = (
        select(BalanceAlert.organisation_id, BalanceAlert.threshold_micros, available)
        .outerjoin(
            Account,
            (Account.organisation_id == BalanceAlert.organisation_id) & (Account.kind == "wallet"),
        )
        .subquery("wallets")
    )
    organisation_id, threshold, left = wallets.c
    session.execute(
        update(PaymentNotice)
        .where(
            PaymentNotice.kind == "low_balance",
            PaymentNotice.cleared_at.is_(None),
            PaymentNotice.organisation_id.in_(select(organisation_id).where(left >= threshold)),
        )
        .values(cleared_at=at)
        .execution_options(synchronize_session=False)
    )
    told = select(PaymentNotice.organisation_id).where(
        PaymentNotice.kind == "low_balance", PaymentNotice.cleared_at.is_(None)
    )
    low = session.execute(
        select(organisation_id, threshold, left).where(
            left < threshold, organisation_id.not_in(told)
        )
    ).all()
    for id_, threshold_micros, left_micros in low:
        sentence = (
            f"{format_usd(max(left_micros, 0))} is left, less than the "
            f"{format_usd(threshold_micros)} that you asked to be told about."
        )
        show(session, id_, "low_balance", sentence)
    return len(low)
