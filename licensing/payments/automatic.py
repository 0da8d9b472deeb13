"""Automatic top-up: when the saved card is charged without anybody asking, and what stops it.

Owns `automatic_top_up`. What must hold: one charge at a time for an organisation, however many
processes look; never more in a month than the ceiling; after a decline an hour's pause, after the
third one no more until a person turns it on again; three charges within ten minutes are an alarm
and stop it too. All of that is counted from the rows of `payment`, so that a restart forgets
nothing.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from licensing import ledger
from licensing.db import now
from licensing.errors import Conflict
from licensing.ledger import Account
from licensing.money import InvalidAmount, checked, format_usd
from licensing.payments import cards, notices, top_ups
from licensing.payments.tables import AutomaticTopUp, Payment

PAUSE_AFTER_DECLINE = timedelta(hours=1)  # asking a card again and again is what thieves do
DECLINES_MAX = 3
BURST_CHARGES = 3
BURST_WINDOW = timedelta(minutes=10)
ORGANISATIONS_AT_ONCE_MAX = 50  # a round; the next one follows in seconds

DECLINED = "Automatic top-up was turned off: the card was declined {count} times in a row."
BURST = (
    "Automatic top-up was turned off: {count} charges within {minutes} minutes. Look at what is "
    "being made, then turn it on again."
)
NO_CARD = "Automatic top-up was turned off: there is no saved card any more."
STOPPED = "turned off by a person"


@dataclass(frozen=True)
class Charge:
    """What the provider is to be asked, in words of its own."""

    payment_id: uuid.UUID
    organisation_id: uuid.UUID
    amount_micros: int
    customer_id: str
    card_id: str


@dataclass(frozen=True)
class Record:
    """What automatic top-up has done: this month's sum, declines in a row, recent charges."""

    month_micros: int
    declines: int
    last_decline_at: datetime | None
    recent: int


def turn_on(
    session: Session,
    organisation_id: uuid.UUID,
    *,
    threshold_micros: int,
    amount_micros: int,
    monthly_ceiling_micros: int,
    author_id: uuid.UUID,
) -> None:
    """Let the saved card be charged by itself. Raises `InvalidAmount`, `Conflict` without a card.

    Turning it on again begins a new count of declines.
    """
    top_ups.checked_top_up(amount_micros)
    checked(monthly_ceiling_micros)
    if type(threshold_micros) is not int or not 0 <= threshold_micros <= top_ups.TOP_UP_MICROS_MAX:
        raise InvalidAmount(f"The threshold is from $0 to {format_usd(top_ups.TOP_UP_MICROS_MAX)}.")
    if monthly_ceiling_micros < amount_micros:
        raise InvalidAmount("The month's ceiling must leave room for at least one top-up.")
    if cards.card_of(session, organisation_id) is None:
        raise Conflict("Save a card first; automatic top-up charges the saved card.")
    at = now()
    values = {
        "threshold_micros": threshold_micros,
        "amount_micros": amount_micros,
        "monthly_ceiling_micros": monthly_ceiling_micros,
        "author_id": author_id,
        "on_since": at,
        "off_reason": None,
        "changed_at": at,
    }
    session.execute(
        insert(AutomaticTopUp)
        .values(organisation_id=organisation_id, **values)
        .on_conflict_do_update(index_elements=[AutomaticTopUp.organisation_id], set_=values)
    )
    for kind in ("automatic_off", "automatic_ceiling", "automatic_declined"):
        notices.clear(session, organisation_id, kind)


def turn_off(session: Session, organisation_id: uuid.UUID, *, author_id: uuid.UUID) -> bool:
    """Stop it by hand; False if it was not on."""
    settings = _lock(session, organisation_id)
    if settings is None or settings.on_since is None:
        return False
    settings.on_since, settings.off_reason = None, STOPPED
    settings.author_id, settings.changed_at = author_id, now()
    return True


def low(session: Session) -> list[uuid.UUID]:
    """Organisations whose balance is under their threshold, with nothing under way.

    Drawn by lot, so that those which a brake holds back do not stand before the others for ever.
    """
    under_way = select(Payment.organisation_id).where(
        Payment.kind == "automatic", Payment.state == "started"
    )
    query = (
        select(AutomaticTopUp.organisation_id)
        .outerjoin(
            Account,
            (Account.organisation_id == AutomaticTopUp.organisation_id)
            & (Account.kind == "wallet"),
        )
        .where(
            AutomaticTopUp.on_since.is_not(None),
            Account.frozen_reason.is_(None),
            func.coalesce(Account.settled_micros - Account.held_micros, 0)
            < AutomaticTopUp.threshold_micros,
            AutomaticTopUp.organisation_id.not_in(under_way),
        )
        .order_by(func.random())
        .limit(ORGANISATIONS_AT_ONCE_MAX)
    )
    return list(session.scalars(query))


def begin(session: Session, organisation_id: uuid.UUID, at: datetime) -> Charge | None:
    """Write down the next charge, if it is due and no brake holds it; else None.

    Looks at everything again behind the lock of the settings: of two processes that come at once,
    the second finds the first one's row.
    """
    settings = _lock(session, organisation_id)
    if settings is None or settings.on_since is None or _is_under_way(session, organisation_id):
        return None
    balance = ledger.balance(session, organisation_id)
    if balance.frozen_reason is not None or balance.available_micros >= settings.threshold_micros:
        return None
    card, customer_id = (
        cards.card_of(session, organisation_id),
        cards.customer_of(session, organisation_id),
    )
    if card is None or customer_id is None:
        _stop(session, settings, NO_CARD)
        return None
    if _is_held_back(session, settings, at):
        return None
    payment = top_ups.write(
        session,
        organisation_id,
        "automatic",
        settings.amount_micros,
        author_id=settings.author_id,
        card_id=card.id,
    )
    return Charge(payment.id, organisation_id, payment.amount_micros, customer_id, card.id)


def again(session: Session, payment: Payment) -> Charge | None:
    """The same charge once more, for the provider's answer to it was not heard."""
    customer_id = cards.customer_of(session, payment.organisation_id)
    if customer_id is None or payment.card_id is None:
        return None
    payment.asked_at = now()
    session.add(payment)
    return Charge(
        payment.id, payment.organisation_id, payment.amount_micros, customer_id, payment.card_id
    )


def brake(session: Session, organisation_id: uuid.UUID, at: datetime) -> None:
    """Tell about declines, and turn off after the last one that is allowed."""
    settings = _lock(session, organisation_id)
    if settings is None or settings.on_since is None:
        return
    record = record_of(session, organisation_id, settings.on_since, at)
    if record.declines >= DECLINES_MAX:
        _stop(session, settings, DECLINED.format(count=record.declines))
    elif record.declines:
        sentence = "An automatic top-up was declined. It is tried again after an hour."
        notices.show(session, organisation_id, "automatic_declined", sentence)
    else:
        notices.clear(session, organisation_id, "automatic_declined")


def record_of(
    session: Session, organisation_id: uuid.UUID, on_since: datetime, at: datetime
) -> Record:
    """Count what was charged: the month's sum (UTC), declines since the last success, a burst."""
    utc = at.astimezone(UTC)
    month = utc.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    mine = (Payment.organisation_id == organisation_id) & (Payment.kind == "automatic")
    succeeded_at = session.scalars(
        select(func.max(Payment.created_at)).where(mine, Payment.state == "paid")
    ).one()
    since = max(on_since, succeeded_at) if succeeded_at else on_since
    query = select(
        func.coalesce(
            func.sum(Payment.amount_micros).filter(
                Payment.created_at >= month, Payment.state.in_(("started", "paid"))
            ),
            0,
        ),
        func.count().filter(Payment.state == "failed", Payment.created_at >= since),
        func.max(Payment.resolved_at).filter(
            Payment.state == "failed", Payment.created_at >= since
        ),
        func.count().filter(Payment.created_at > max(at - BURST_WINDOW, on_since)),
    ).where(mine, Payment.created_at >= min(month, since, at - BURST_WINDOW))
    month_micros, declines, last_decline_at, recent = session.execute(query).one()
    return Record(int(month_micros), declines, last_decline_at, recent)


def settings_of(session: Session, organisation_id: uuid.UUID) -> AutomaticTopUp | None:
    """Read an organisation's settings."""
    return session.get(AutomaticTopUp, organisation_id, populate_existing=True)


def _is_held_back(session: Session, settings: AutomaticTopUp, at: datetime) -> bool:
    """Whether a brake holds the next charge; some brakes also turn it off, and say so."""
    assert settings.on_since is not None
    record = record_of(session, settings.organisation_id, settings.on_since, at)
    if record.declines >= DECLINES_MAX:
        _stop(session, settings, DECLINED.format(count=record.declines))
        return True
    if record.last_decline_at is not None and at < record.last_decline_at + PAUSE_AFTER_DECLINE:
        return True
    if record.recent >= BURST_CHARGES:
        minutes = int(BURST_WINDOW.total_seconds() // 60)
        _stop(session, settings, BURST.format(count=record.recent, minutes=minutes))
        return True
    if record.month_micros + settings.amount_micros > settings.monthly_ceiling_micros:
        sentence = (
            f"Automatic top-up has reached the month's ceiling of "
            f"{format_usd(settings.monthly_ceiling_micros)}. Top up by hand, or raise the ceiling."
        )
        notices.show(session, settings.organisation_id, "automatic_ceiling", sentence)
        return True
    notices.clear(session, settings.organisation_id, "automatic_ceiling")
    return False


def _stop(session: Session, settings: AutomaticTopUp, reason: str) -> None:
    settings.on_since, settings.off_reason, settings.changed_at = None, reason, now()
    session.flush()
    notices.clear(session, settings.organisation_id, "automatic_declined")
    notices.show(session, settings.organisation_id, "automatic_off", reason)


def _is_under_way(session: Session, organisation_id: uuid.UUID) -> bool:
    query = select(Payment.id).where(
        Payment.organisation_id == organisation_id,
        Payment.kind == "automatic",
        Payment.state == "started",
    )
    return session.scalars(query).first() is not None


def _lock(session: Session, organisation_id: uuid.UUID) -> AutomaticTopUp | None:
    query = (
        select(AutomaticTopUp)
        .where(AutomaticTopUp.organisation_id == organisation_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return session.scalars(query).one_or_none()
