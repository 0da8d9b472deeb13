"""The balance as the finance page shows it: what it is made of, what moved it, how long it lasts.

Reads the ledger and the sums of usage; `webapp.ui.runway` computes the forecast. Amounts are
integer microdollars, days are UTC.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session, aliased

from licensing import ledger, usage_sums
from licensing.db import now
from licensing.ledger import Account, Balance, Hold, Lot, Transfer
from licensing.seats import Member, Organisation
from webapp.ui import runway
from webapp.ui.months import first_use
from webapp.ui.runway import Part, Runway

MOVEMENTS_ON_PAGE = 12
LOTS_SHOWN_MAX = 200  # in the order in which they pay; more than a page of them nobody reads
TRACK_DAYS = 28  # as far back as the slower pace looks

KIND_WORDS = {
    "top_up": "Top-up",
    "grant": "Grant",
    "refund_generation": "Refund for a picture",
    "refund_top_up": "Paid back",
    "return_refund": "Paid back, but it did not arrive",
    "chargeback": "Taken back by a bank",
    "expire": "Ran out unused",
    "adjust": "Adjustment",
}


@dataclass(frozen=True)
class Wallet:
    """The balance, and how many jobs hold a part of it."""

    organisation: str
    balance: Balance
    jobs_holding: int


@dataclass(frozen=True)
class Movement:
    """Money that came or went otherwise than for a picture; `amount_micros` has its sign."""

    id: int
    at: datetime
    kind: str
    words: str
    note: str
    author: str
    amount_micros: int


@dataclass(frozen=True)
class Movements:
    """One page of them, newest first."""

    rows: list[Movement]
    has_older: bool


@dataclass(frozen=True)
class Outlook:
    """How long the balance lasts: what was left on each past day, and a forecast per pace."""

    today: date
    track: list[tuple[date, int]]
    runways: list[Runway]

    @property
    def soonest(self) -> Runway | None:
        """The forecast that ends first."""
        if not self.runways:
            return None
        return min(self.runways, key=lambda one: (one.ends_on is None, one.ends_on or date.max))


def read_wallet(session: Session, organisation_id: uuid.UUID) -> Wallet:
    """Read the balance."""
    name = session.scalars(
        select(Organisation.name).where(Organisation.id == organisation_id)
    ).one()
    holding = (
        select(func.count())
        .select_from(Hold)
        .join(Account, Account.id == Hold.account_id)
        .where(Account.organisation_id == organisation_id, Hold.state == "held")
    )
    return Wallet(
        organisation=name,
        balance=ledger.balance(session, organisation_id),
        jobs_holding=session.scalars(holding).one(),
    )


def read_lots(session: Session, organisation_id: uuid.UUID) -> list[Lot]:
    """The lots that can still pay, in the order in which they do."""
    return ledger.lots(session, organisation_id, limit=LOTS_SHOWN_MAX, open_only=True)


def read_movements(
    session: Session,
    organisation_id: uuid.UUID,
    *,
    before_id: int | None = None,
    limit: int = MOVEMENTS_ON_PAGE,
) -> Movements:
    """Read everything that moved the balance except charges, before the transfer `before_id`."""
    author = aliased(Member)
    signed = case((Account.kind == "wallet", Transfer.amount_micros), else_=-Transfer.amount_micros)
    query = (
        select(Transfer, signed, author.name)
        .join(Account, Account.id == Transfer.destination_id)
        .outerjoin(author, author.id == Transfer.author_id)
        .where(Transfer.organisation_id == organisation_id, Transfer.kind != "settle")
    )
    if before_id is not None:
        query = query.where(Transfer.id < before_id)
    rows = [
        Movement(
            one.id,
            one.at,
            one.kind,
            KIND_WORDS[one.kind],
            one.note,
            name or "The studio",
            int(amount),
        )
        for one, amount, name in session.execute(
            query.order_by(Transfer.id.desc()).limit(limit + 1)
        )
    ]
    return Movements(rows[:limit], has_older=len(rows) > limit)


def read_outlook(session: Session, organisation_id: uuid.UUID, wallet: Wallet) -> Outlook:
    """Forecast, at each pace, when nothing will be left; with the balance of the days before."""
    at = now()
    today = at.date()
    since = today - timedelta(days=TRACK_DAYS)
    start = datetime(since.year, since.month, since.day, tzinfo=UTC)
    end = datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=1)
    sums = usage_sums.summary(session, organisation_id, start, end, by=usage_sums.By.DAY)
    spent = {date.fromisoformat(one.key): one.amount_micros for one in sums}
    began = first_use(session, organisation_id)
    paces = runway.paces(spent, first_use=began.date() if began else None, today=today)
    parts = [
        Part(lot.remaining_micros, lot.expires_at) for lot in read_lots(session, organisation_id)
    ]
    held = wallet.balance.held_micros
    return Outlook(
        today,
        _track(session, organisation_id, wallet, start, spent),
        [runway.forecast(parts, held_micros=held, pace=pace, today=today) for pace in paces],
    )


def _track(
    session: Session,
    organisation_id: uuid.UUID,
    wallet: Wallet,
    start: datetime,
    spent_micros: dict[date, int],
) -> list[tuple[date, int]]:
    """What was settled at the end of each day from `start` to today, counted back from now."""
    day_of = func.date(func.timezone("UTC", Transfer.at))
    signed = case((Account.kind == "wallet", Transfer.amount_micros), else_=-Transfer.amount_micros)
    query = (
        select(day_of, func.sum(signed))
        .join(Account, Account.id == Transfer.destination_id)
        .where(
            Transfer.organisation_id == organisation_id,
            Transfer.kind.not_in(("settle", "refund_generation")),  # the usage lines have both
            Transfer.at >= start,
        )
        .group_by(day_of)
    )
    moved = {day: int(micros) for day, micros in session.execute(query)}
    left = wallet.balance.settled_micros
    track: list[tuple[date, int]] = []
    day = now().date()
    while day >= start.date():
        track.append((day, left))
        left += spent_micros.get(day, 0) - moved.get(day, 0)
        day -= timedelta(days=1)
    return track[::-1]
