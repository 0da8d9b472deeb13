"""Budgets inside a shared balance: how much a member, a team or an API key may use in a period.

Owns `budget_counter` (what a subject has used and holds in a period) and `budget_reservation`
(which periods a job counts in); the limits are in `licensing.budget_limits`. What must hold:

- Every job is counted, whether a limit is set or not, so that a budget set at noon knows the
  morning. A job counts in the day and the month (UTC) in which it was reserved, for ever.
- Check and act are one statement for each counter; all of a job's counters move, or none.
- A reservation is resolved at most once, in the transaction that resolves the job's hold.
- Counters are locked in the order (scope, subject, period): API key, member, team. They come
  before the hold and the wallet, which is the last lock of all.

`licensing.audit` re-adds the counters. Called by `webapp.generate` and `inference.lifecycle`; pages
read `budgets_of`.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from psycopg.errors import UniqueViolation
from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import budget_statements, seats
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict
from licensing.money import checked, format_usd

Scope = Literal["organisation_default", "member", "team", "api_key"]
Period = Literal["day", "month"]

STRANDED_MAX = 200  # for one sweep; the next one takes the rest


class BudgetExceeded(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A budget has less left than the work would cost; nothing was changed."""

    code = "budget_exceeded"
    status = 402

    def __init__(self, standing: "BudgetStanding", amount_micros: int, raisers: list[str]) -> None:
        """Say which budget it is, what is left of it, when it resets and who can raise it."""
        self.standing = standing
        self.left_micros = standing.left_micros
        self.resets_at = standing.resets_at
        who = " or ".join(raisers) or "An admin of your organisation"
        super().__init__(f"{_shortfall(standing, amount_micros)} {who} can raise it.")


@dataclass(frozen=True)
class BudgetStanding:
    """One budget in its current period. `left` = `limit` - `used` - `held`, at least 0."""

    scope: Scope  # "member" too where the limit is the organisation's default
    name: str  # of the member, team or API key
    period: Period
    limit_micros: int
    used_micros: int
    held_micros: int
    resets_at: datetime

    @property
    def left_micros(self) -> int:
        """What new work may cost; a limit that was lowered below the use leaves nothing."""
        return max(self.limit_micros - self.used_micros - self.held_micros, 0)

    @property
    def owner(self) -> str:
        """Whose it is, as the member reads it."""
        kind = {"team": "team", "api_key": "API key"}.get(self.scope)
        return f"the budget of the {kind} “{self.name}”" if kind else "your budget"

    @property
    def ends(self) -> str:
        """When the counter begins anew, in words; periods are counted in UTC."""
        return (
            "midnight UTC" if self.period == "day" else f"{self.resets_at.day} {self.resets_at:%B}"
        )


def reserve(
    session: Session,
    *,
    organisation_id: uuid.UUID,
    member_id: uuid.UUID,
    team_id: uuid.UUID | None,
    api_key_id: uuid.UUID | None,
    generation_id: uuid.UUID,
    amount_micros: int,
    at: datetime | None = None,
) -> None:
    """Count the most that a job can cost in every budget it falls under, just before its hold.

    Raises `BudgetExceeded` (nothing changed) for the budget that resets last of those too small,
    and `Conflict` if the generation has a reservation already.
    """
    moment = at or now()
    subjects = {"api_key_id": api_key_id, "member_id": member_id, "team_id": team_id}
    values: dict[str, Any] = {
        **subjects,
        "organisation_id": organisation_id,
        "generation_id": generation_id,
        "amount_micros": checked(amount_micros),
        "wanted": 2 * sum(subject is not None for subject in subjects.values()),
        "at": moment,
        **_periods(moment),
    }
    while not _count(session, values):
        found = _standings(session, values)
        short = [standing for standing in found if standing.left_micros < amount_micros]
        if short:  # otherwise a limit was raised or removed meanwhile: look again
            last = max(short, key=lambda standing: standing.resets_at)
            raise BudgetExceeded(last, amount_micros, _raisers(session, organisation_id))


def resolve(session: Session, generation_id: uuid.UUID, amount_micros: int) -> bool:
    """Count `amount_micros` (0: released) as used and free the rest; call it before the ledger.

    True for the one call that resolved the reservation; False if it was resolved before, never
    was, or is smaller than the amount (which the ledger then refuses).
    """
    values = {"generation_ids": [generation_id], "amount_micros": amount_micros, "at": now()}
    return session.execute(budget_statements.RESOLVE, values).one_or_none() is not None


def free(session: Session, generation_ids: Sequence[uuid.UUID]) -> None:
    """Resolve jobs that cost nothing, several in one statement: that keeps the order of locks."""
    values = {"generation_ids": list(generation_ids), "amount_micros": 0, "at": now()}
    session.execute(budget_statements.RESOLVE, values)


def stranded(session: Session) -> list[tuple[uuid.UUID, int]]:
    """Reservations whose hold is resolved and they are not, with what was charged: for the sweep.

    A hold expires in a transaction of its own; a crash just after it leaves these.
    """
    return [
        tuple(row) for row in session.execute(budget_statements.STRANDED, {"limit": STRANDED_MAX})
    ]


def budgets_of(
    session: Session,
    *,
    member_id: uuid.UUID,
    api_key_id: uuid.UUID | None = None,
    at: datetime | None = None,
) -> list[BudgetStanding]:
    """Every budget that the member's next job would count in; a subject without one is left out.

    In the order API key, member, team, each with its day before its month.
    """
    member = seats.get_member(session, member_id)
    if member is None:
        return []
    values = {
        "organisation_id": member.organisation_id,
        "member_id": member_id,
        "team_id": member.team_id,
        "api_key_id": api_key_id,
        **_periods(at or now()),
    }
    return _standings(session, values)


def _periods(at: datetime) -> dict[str, date]:
    """The first days of the periods that a moment lies in, counted in UTC."""
    day = at.astimezone(UTC).date()
    return {"day": day, "month": day.replace(day=1)}


def _resets_at(period: str, periods: dict[str, Any]) -> datetime:
    if period == "day":
        first: date = periods["day"] + timedelta(days=1)
    else:
        first = (periods["month"] + timedelta(days=31)).replace(day=1)
    return datetime.combine(first, time.min, UTC)


def _count(session: Session, values: dict[str, Any]) -> bool:
    """Count the job in all of its counters and write its reservation, or do nothing."""
    try:
        counted = session.execute(budget_statements.RESERVE, values).mappings().all()
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        raise Conflict("This generation is counted in its budgets already.") from error
    if len(counted) == values["wanted"]:
        return True
    for row in counted:  # the locks are ours until the end of the transaction
        session.execute(budget_statements.UNCOUNT, {**values, **row})
    return False


def _standings(session: Session, values: dict[str, Any]) -> list[BudgetStanding]:
    names: dict[uuid.UUID, str] = {}
    standings = []
    for row in session.execute(budget_statements.STANDINGS, values).mappings().all():
        subject_id = row["subject_id"]
        if subject_id not in names:
            names[subject_id] = _name(session, values["organisation_id"], row["scope"], subject_id)
        standings.append(
            BudgetStanding(
                scope=row["scope"],
                name=names[subject_id],
                period=row["period"],
                limit_micros=row["limit_micros"],
                used_micros=row["used_micros"],
                held_micros=row["held_micros"],
                resets_at=_resets_at(row["period"], values),
            )
        )
    return standings


def _name(session: Session, organisation_id: uuid.UUID, scope: str, subject_id: uuid.UUID) -> str:
    ids = {"id": subject_id, "organisation_id": organisation_id}
    return session.execute(budget_statements.NAMES[scope], ids).scalar() or ""


def _shortfall(standing: BudgetStanding, amount_micros: int) -> str:
    whose, limit = standing.owner, format_usd(standing.limit_micros)
    held = (
        f" {format_usd(standing.held_micros)} of it is set aside for pictures in the making."
        if standing.held_micros
        else ""
    )
    if standing.left_micros == 0:
        said = f"{whose[0].upper()}{whose[1:]} of {limit} a {standing.period} is used up."
    else:
        said = (
            f"This costs {format_usd(amount_micros)}, and {format_usd(standing.left_micros)} is "
            f"left of {whose} of {limit} a {standing.period}."
        )
    preposition = "at" if standing.period == "day" else "on"
    return f"{said}{held} It resets {preposition} {standing.ends}."


def _raisers(session: Session, organisation_id: uuid.UUID) -> list[str]:
    query = budget_statements.RAISERS
    return list(session.execute(query, {"organisation_id": organisation_id}).scalars())


class BudgetCounter(Base):
    """What one subject has used and holds in one period, a day or month that starts on a date."""

    __tablename__ = "budget_counter"
    __table_args__ = (
        CheckConstraint("scope IN ('member', 'team', 'api_key')", name="scope"),
        CheckConstraint("period IN ('day', 'month')", name="period"),
        CheckConstraint("used_micros >= 0 AND held_micros >= 0", name="counted"),
    )

    subject_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    starts_on: Mapped[date] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    used_micros: Mapped[int]
    held_micros: Mapped[int]


class BudgetReservation(Base):
    """One job in its budgets: at most `amount_micros`, until it is resolved for `used_micros`."""

    __tablename__ = "budget_reservation"
    __table_args__ = (
        ForeignKeyConstraint(
            ["member_id", "organisation_id"], ["member.id", "member.organisation_id"]
        ),
        CheckConstraint("amount_micros > 0", name="amount"),
        CheckConstraint("used_micros BETWEEN 0 AND amount_micros", name="used"),
        CheckConstraint("(resolved_at IS NULL) = (used_micros IS NULL)", name="resolved"),
        Index(
            "ix_budget_reservation_open",
            "reserved_at",
            postgresql_where=text("resolved_at IS NULL"),
        ),
    )

    generation_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID]
    member_id: Mapped[uuid.UUID]
    team_id: Mapped[uuid.UUID | None]
    api_key_id: Mapped[uuid.UUID | None]
    amount_micros: Mapped[int]
    used_micros: Mapped[int | None]
    day: Mapped[date]
    reserved_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
