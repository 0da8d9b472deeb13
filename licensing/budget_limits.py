"""The limits of budgets: what an admin sets for a member, a team, an API key or everybody.

Owns `budget`. A limit holds from the moment it is set and knows nothing of what was used: the
counters of `licensing.budgets` do, and compare. A member without a limit of their own for a period
has the organisation's default. Changes are made under the organisation's lock and stand in its
history.
"""

import uuid
from datetime import datetime
from typing import get_args

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import budget_statements
from licensing.actors import record, require_admin
from licensing.budgets import Period, Scope
from licensing.db import Base, now
from licensing.errors import NotFound
from licensing.money import AMOUNT_MICROS_MAX, InvalidAmount, format_usd
from licensing.seats import Member


def set_budget(
    session: Session,
    actor: Member,
    *,
    scope: Scope,
    subject_id: uuid.UUID | None,
    period: Period,
    limit_micros: int | None,
) -> "Budget | None":
    """Set a limit from this moment on (0: nothing may be used), or remove it with None.

    What the period has used already counts. Work that is held stays admitted when a limit is
    lowered. Raises `NotAllowed` (owners and admins alone), `NotFound` (a subject of somebody
    else's) and `InvalidAmount`.
    """
    if scope not in get_args(Scope) or period not in get_args(Period):
        raise ValueError(f"no budget is of scope {scope!r} and period {period!r}")
    if limit_micros is not None and not (
        type(limit_micros) is int and 0 <= limit_micros <= AMOUNT_MICROS_MAX
    ):
        raise InvalidAmount(f"A budget lies between $0 and {format_usd(AMOUNT_MICROS_MAX)}.")
    actor = require_admin(session, actor)
    name = _subject_name(session, actor.organisation_id, scope, subject_id)
    budget = _find(session, actor.organisation_id, scope, subject_id, period)
    if limit_micros == (budget.limit_micros if budget else None):
        return budget
    if limit_micros is None:
        session.delete(budget)
    elif budget is not None:
        budget.limit_micros, budget.author_id, budget.updated_at = limit_micros, actor.id, now()
    else:
        budget = Budget(
            id=uuid.uuid4(),
            organisation_id=actor.organisation_id,
            scope=scope,
            subject_id=subject_id,
            period=period,
            limit_micros=limit_micros,
            author_id=actor.id,
            created_at=now(),
            updated_at=now(),
        )
        session.add(budget)
    size = "no limit" if limit_micros is None else format_usd(limit_micros)
    about = session.get(Member, subject_id) if scope == "member" else None
    whose = "" if about else f"{name}, "  # a member is named by their row, which may be forgotten
    record(session, actor, "budget", member=about, detail=f"{whose}per {period}: {size}")
    return None if limit_micros is None else budget


def limits(session: Session, organisation_id: uuid.UUID) -> list["Budget"]:
    """Every limit that is set in an organisation, its defaults first."""
    query = select(Budget).where(Budget.organisation_id == organisation_id)
    order = (Budget.scope != "organisation_default", Budget.scope, Budget.created_at, Budget.id)
    return list(session.scalars(query.order_by(*order)))


def _subject_name(
    session: Session, organisation_id: uuid.UUID, scope: Scope, subject_id: uuid.UUID | None
) -> str:
    """Name the subject of a budget; raises `NotFound` for what is not the organisation's."""
    if scope == "organisation_default":
        if subject_id is not None:
            raise NotFound("The organisation's default is of no one member.")
        return "Everybody without a budget of their own"
    ids = {"id": subject_id, "organisation_id": organisation_id}
    found: str | None = session.execute(budget_statements.NAMES[scope], ids).scalar()
    if found is None:
        raise NotFound("There is no such member, team or API key.")
    return found


def _find(
    session: Session,
    organisation_id: uuid.UUID,
    scope: Scope,
    subject_id: uuid.UUID | None,
    period: Period,
) -> "Budget | None":
    query = select(Budget).where(
        Budget.organisation_id == organisation_id,
        Budget.scope == scope,
        Budget.subject_id.is_not_distinct_from(subject_id),
        Budget.period == period,
    )
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


class Budget(Base):
    """A limit for one subject and period; the counter lives apart and does not know it."""

    __tablename__ = "budget"
    __table_args__ = (
        UniqueConstraint(
            "organisation_id", "scope", "subject_id", "period", postgresql_nulls_not_distinct=True
        ),
        CheckConstraint(
            "scope IN ('organisation_default', 'member', 'team', 'api_key')", name="scope"
        ),
        CheckConstraint("(scope = 'organisation_default') = (subject_id IS NULL)", name="subject"),
        CheckConstraint("period IN ('day', 'month')", name="period"),
        CheckConstraint("limit_micros >= 0", name="limit"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    scope: Mapped[str]
    subject_id: Mapped[uuid.UUID | None]
    period: Mapped[str]
    limit_micros: Mapped[int]
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
