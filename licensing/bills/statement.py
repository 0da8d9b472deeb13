"""What a month's statement says: balances at both ends, what moved between, and who used what.

The figures come from the sums of usage lines and from transfers, both append-only and both kept out
of sealed months, so a closed month reads the same for ever. The balances add up by construction and
are checked: the start, and every flow, is the end. `licensing.bills.statement_pdf` draws it.
"""

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from licensing import usage_sums
from licensing.ledger import Account, Transfer
from licensing.seats import Member
from licensing.usage_sums import By, Sum

MOVEMENTS_MAX = 500  # some fourteen pages; the files have every one
IN_USAGE = ("settle", "refund_generation")  # what usage lines tell more exactly than transfers
FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)

KIND_WORDS = {
    "top_up": "Paid in",
    "grant": "Granted",
    "settle": "Used",
    "refund_generation": "Given back for pictures",
    "refund_top_up": "Paid back to you",
    "return_refund": "Paid back, but it did not arrive",
    "chargeback": "Taken back by a bank",
    "expire": "Ran out unused",
    "adjust": "Adjusted",
}


@dataclass(frozen=True)
class Share:
    """What a model, a team or a member used; `note` tells namesakes apart."""

    name: str
    note: str
    generations: int
    images: int
    amount_micros: int


@dataclass(frozen=True)
class Flow:
    """The sum of all movements of one kind, as it changed the balance."""

    name: str
    note: str
    amount_micros: int


@dataclass(frozen=True)
class Movement:
    """One transfer that was no charge for a picture, as it changed the balance."""

    at: datetime
    name: str
    note: str
    amount_micros: int


@dataclass(frozen=True)
class Statement:
    """A month of an organisation; `closed_at` is None while figures can still be added."""

    organisation: str
    year: int
    month: int
    closed_at: datetime | None
    opening_micros: int
    flows: tuple[Flow, ...]
    closing_micros: int
    lines: int
    usage: Share
    models: tuple[Share, ...]
    teams: tuple[Share, ...]
    members: tuple[Share, ...]
    movements: tuple[Movement, ...]
    movements_left_out: int
    hashes: tuple[tuple[str, str], ...]


def read_statement(
    session: Session,
    organisation_id: uuid.UUID,
    start: datetime,
    end: datetime,
    *,
    organisation: str,
    closed_at: datetime | None,
    hashes: tuple[tuple[str, str], ...] = (),
) -> Statement:
    """Read a month, from `start` (included) to `end` (excluded), both midnights in UTC.

    `organisation` is the name to print, `hashes` the names and SHA-256 of the month's files.
    """
    [total] = usage_sums.summary(session, organisation_id, start, end)
    opening = _balance_before(session, organisation_id, start)
    flows = _flows(session, organisation_id, start, end, total)
    closing = _balance_before(session, organisation_id, end)
    moved = sum(flow.amount_micros for flow in flows)
    assert opening + moved == closing, "the flows of a month lead from its start to its end"
    found, left_out = _movements(session, organisation_id, start, end)

    def shares(by: By) -> tuple[Share, ...]:
        sums = usage_sums.summary(session, organisation_id, start, end, by=by)
        return tuple(_shares(session, by, sums))

    teams = shares(By.TEAM)
    return Statement(
        organisation=organisation,
        year=start.year,
        month=start.month,
        closed_at=closed_at,
        opening_micros=opening,
        flows=tuple(flows),
        closing_micros=closing,
        lines=total.generations + total.corrections,
        usage=Share("", "", total.generations, total.images, total.amount_micros),
        models=shares(By.MODEL),
        teams=teams if any(share.name != NO_TEAM for share in teams) else (),
        members=shares(By.MEMBER),
        movements=found,
        movements_left_out=left_out,
        hashes=hashes,
    )


NO_TEAM = "No team"


def _shares(session: Session, by: By, sums: list[Sum]) -> list[Share]:
    namesakes = [name for name, count in Counter(one.name for one in sums).items() if count > 1]
    notes: dict[str, str] = {}
    if by is By.MEMBER and namesakes:
        ids = [uuid.UUID(one.key) for one in sums if one.name in namesakes]
        query = select(Member.id, Member.email).where(Member.id.in_(ids))
        notes = {str(id_): email for id_, email in session.execute(query)}
    return [
        Share(
            one.name or (NO_TEAM if by is By.TEAM else one.key),
            notes.get(one.key, ""),
            one.generations,
            one.images,
            one.amount_micros,
        )
        for one in sums
    ]


def _balance_before(session: Session, organisation_id: uuid.UUID, at: datetime) -> int:
    """What was settled at a month's first moment, `at`, as its statement and its files see it."""
    [used] = usage_sums.summary(session, organisation_id, FIRST_DAY, at)
    query = (
        select(func.coalesce(func.sum(_signed()), 0))
        .select_from(Transfer)
        .join(Account, Account.id == Transfer.destination_id)
        .where(
            Transfer.organisation_id == organisation_id,
            Transfer.kind.not_in(IN_USAGE),
            Transfer.at < at,
        )
    )
    return int(session.scalars(query).one()) - used.amount_micros


def _flows(
    session: Session, organisation_id: uuid.UUID, start: datetime, end: datetime, used: Sum
) -> list[Flow]:
    query = (
        select(Transfer.kind, func.sum(_signed()), func.count())
        .join(Account, Account.id == Transfer.destination_id)
        .where(
            Transfer.organisation_id == organisation_id,
            Transfer.kind != "settle",
            Transfer.at >= start,
            Transfer.at < end,
        )
        .group_by(Transfer.kind)
    )
    moved = {kind: (int(micros), int(count)) for kind, micros, count in session.execute(query)}
    given_back = moved.get("refund_generation", (0, 0))[0]
    moved["settle"] = (-used.amount_micros - given_back, used.generations)
    flows = []
    for kind, words in KIND_WORDS.items():
        amount, count = moved.get(kind, (0, 0))
        if count:
            unit = "generation" if kind == "settle" else "entry"
            flows.append(Flow(words, _counted(count, unit), amount))
    return flows


def _movements(
    session: Session, organisation_id: uuid.UUID, start: datetime, end: datetime
) -> tuple[tuple[Movement, ...], int]:
    author = aliased(Member)
    query = (
        select(Transfer, _signed(), author.name)
        .join(Account, Account.id == Transfer.destination_id)
        .outerjoin(author, author.id == Transfer.author_id)
        .where(
            Transfer.organisation_id == organisation_id,
            Transfer.kind != "settle",
            Transfer.at >= start,
            Transfer.at < end,
        )
    )
    count = session.scalars(select(func.count()).select_from(query.subquery())).one()
    rows = session.execute(query.order_by(Transfer.at, Transfer.id).limit(MOVEMENTS_MAX))
    found = tuple(
        Movement(
            one.at,
            KIND_WORDS[one.kind],
            " · ".join(word for word in (one.note, name) if word),
            int(amount),
        )
        for one, amount, name in rows
    )
    return found, count - len(found)


def _signed() -> ColumnElement[int]:
    """A transfer's amount as it changes the wallet; joined to the destination's account."""
    return case((Account.kind == "wallet", Transfer.amount_micros), else_=-Transfer.amount_micros)


def _counted(count: int, unit: str) -> str:
    plural = {"entry": "entries"}.get(unit, f"{unit}s")
    return f"{count:,} {unit if count == 1 else plural}"
