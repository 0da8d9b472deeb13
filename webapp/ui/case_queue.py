"""The reviewer's queue: what waits, the most urgent first, with its clock and what may be read.

Reads only, of the reviewer's own organisation.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy import case as when
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from licensing.cases import MINORS, SHOWN, Kind, ReviewCase
from licensing.db import now
from licensing.moderation import Verdict
from licensing.seats import Member

CASES_ON_PAGE = 24  # two screens of the queue; the next part comes when it is asked for
PART_MAX = 10_000

KINDS: dict[str, str] = {
    "take_down": "Take-downs",
    "report": "Reports",
    "appeal": "Appeals",
    "abuse": "Alarms",
    "picture": "Pictures",
    "prompt": "Prompts",
    "adapter": "LoRAs",
}


@dataclass(frozen=True)
class Choice:
    """What the reviewer wants to see; None is everything."""

    kind: Kind | None = None
    category: str | None = None
    closed: bool = False
    part: int = 1


@dataclass(frozen=True)
class Row:
    """One line of the queue."""

    case: ReviewCase
    member: str
    was_delivered: bool
    is_narrowed: bool
    words: str  # what may be read without a look


@dataclass(frozen=True)
class Queue:
    """A part of the queue: the most urgent first, or the latest decided first."""

    rows: list[Row]
    has_more: bool
    kinds: dict[str, int]
    categories: list[tuple[str, int]]
    overdue: int
    at: datetime

    @property
    def open_count(self) -> int:
        """All that is open, whatever was chosen."""
        return sum(self.kinds.values())


def read_queue(session: Session, reviewer: Member, choice: Choice) -> Queue:
    """Read the part of the queue that fits `choice`."""
    own = ReviewCase.organisation_id == reviewer.organisation_id
    wanted = [own, _is_closed(closed=choice.closed)]
    if choice.kind is not None:
        wanted.append(ReviewCase.kind == choice.kind)
    if choice.category is not None:
        wanted.append(ReviewCase.category == choice.category)
    query = _rows().where(*wanted)
    if choice.closed:
        query = query.order_by(ReviewCase.decided_at.desc(), ReviewCase.id.desc())
    else:
        query = query.order_by(
            ReviewCase.priority, ReviewCase.due_at.asc().nulls_last(), ReviewCase.id
        )
    query = query.limit(CASES_ON_PAGE + 1).offset((choice.part - 1) * CASES_ON_PAGE)
    rows = [
        Row(one, member, was_delivered, is_narrowed, words)
        for one, member, was_delivered, is_narrowed, words in session.execute(query)
    ]
    moment = now()
    overdue = select(func.count()).where(
        own, ReviewCase.outcome.is_(None), ReviewCase.due_at < moment
    )
    return Queue(
        rows=rows[:CASES_ON_PAGE],
        has_more=len(rows) > CASES_ON_PAGE,
        kinds=_count(session, ReviewCase.kind, own, _is_closed(closed=False)),
        categories=sorted(
            (name, count)
            for name, count in _count(session, ReviewCase.category, *wanted[:2]).items()
            if name
        ),
        overdue=session.scalars(overdue).one(),
        at=moment,
    )


def clock(due_at: datetime | None, moment: datetime) -> str:
    """Say how much time is left: `41 h left`, `3 days left`, `2 h late`; empty without a clock."""
    if due_at is None:
        return ""
    hours = (due_at - moment).total_seconds() / 3600
    words = _span(abs(hours))
    return f"{words} left" if hours >= 0 else f"{words} late"


def _span(hours: float) -> str:
    if hours < 1:
        return f"{max(int(hours * 60), 1)} min"
    if hours < 72:  # noqa: PLR2004 - the take-down's 48 hours are read as hours
        return f"{int(hours)} h"
    return f"{int(hours / 24)} days"


def _rows() -> Select[ReviewCase, str, bool, bool, str]:
    about = aliased(ReviewCase)
    public = or_(
        and_(Verdict.subject == "prompt", Verdict.action == "block"), Verdict.subject == "adapter"
    )
    narrowed = and_(
        func.coalesce(about.category, ReviewCase.category).in_(MINORS),
        func.coalesce(about.kind, ReviewCase.kind).in_(SHOWN),
    )
    words = func.left(func.coalesce(Verdict.excerpt, ""), 120)
    return (
        select(
            ReviewCase,
            func.coalesce(Member.name, ""),
            func.coalesce(Verdict.action == "review", False),
            func.coalesce(narrowed, False),
            when((public, words), else_=""),
        )
        .outerjoin(Member, Member.id == ReviewCase.member_id)
        .outerjoin(about, about.id == ReviewCase.about_id)
        .outerjoin(Verdict, Verdict.id == ReviewCase.verdict_id)
    )


def _count(
    session: Session,
    column: ColumnElement[str] | InstrumentedAttribute[str | None],
    *wanted: ColumnElement[bool],
) -> dict[str, int]:
    rows = session.execute(select(column, func.count()).where(*wanted).group_by(column))
    return {name: count for name, count in rows if name is not None}


def _is_closed(*, closed: bool) -> ColumnElement[bool]:
    return ReviewCase.outcome.is_not(None) if closed else ReviewCase.outcome.is_(None)
