"""What reviewers decided and why: the append-only table `decision`.

`decide` is the one way to close a case. Nobody decides a case about themselves, one that they
reported, or an appeal against their own decision; a decision is reversed by somebody else than
whoever made it. What a decision does to a picture or a person is done by `webapp.reviewing`, in the
same transaction.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import cases, review_access
from licensing.cases import Outcome, ReviewCase
from licensing.db import Base, now
from licensing.errors import AtelierError, NotAllowed
from licensing.reports import Report
from licensing.seats import Member

Effect = Literal["none", "withheld", "released"]

REASON_CHARACTERS_MIN = 3
REASON_CHARACTERS_MAX = 500  # a sentence or two; the person reads it
NOTE_CHARACTERS_MAX = 1000  # for colleagues alone


class InvalidDecision(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The decision lacks its reason, or says too much."""

    code = "invalid_decision"
    status = 422


class SecondReviewerNeeded(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Whoever made a decision does not reverse it, nor answers the appeal against it."""

    code = "second_reviewer_needed"
    status = 403


@dataclass(frozen=True)
class Order:
    """What a reviewer wants: `seen` is the decision on the page, None for an open case."""

    action: Outcome
    category: str | None
    reason: str
    note: str = ""
    blocks_hash: bool = False
    suspends: bool = False
    seen: int | None = None


def require_may_decide(session: Session, reviewer: Member, case: ReviewCase) -> None:
    """Raise `NotAllowed` for one's own case, `SecondReviewerNeeded` for one's own decision."""
    if reviewer.id == case.member_id:
        raise NotAllowed("This case is about you. Another reviewer has to decide it.")
    reporter = session.scalar(select(Report.reporter_id).where(Report.case_id == case.id))
    if reporter == reviewer.id:
        raise NotAllowed("You reported this. Another reviewer has to decide it.")
    if cases.is_narrowed(session, case):
        review_access.require(session, reviewer)
    judged = [case.id] if case.about_id is None else [case.id, case.about_id]
    query = select(Decision.reviewer_id).join(ReviewCase, ReviewCase.decision_id == Decision.id)
    if reviewer.id in session.scalars(query.where(ReviewCase.id.in_(judged))).all():
        raise SecondReviewerNeeded(
            "You made this decision. A second reviewer has to reverse it or answer the appeal."
        )


def decide(
    session: Session, reviewer: Member, case: ReviewCase, order: Order, *, effect: Effect
) -> "Decision":
    """Close the case, or reverse its decision, and write down why.

    Raises as `require_may_decide` does, `AlreadyDecided` and `InvalidDecision`.
    """
    require_may_decide(session, reviewer, case)
    return _write(session, reviewer, case, order, effect)


def follow(
    session: Session, reviewer: Member, case: ReviewCase, made: "Decision", *, effect: Effect
) -> ReviewCase | None:
    """Decide with an answered appeal what it was about, or with a release its open appeal.

    Returns the other case if there was one to decide; its decision has `effect`.
    """
    other: ReviewCase | None
    if case.about_id is not None:
        other = cases.access(session, case.organisation_id, case.about_id)
        if other.outcome == made.action:
            return None
    else:
        query = select(ReviewCase).where(
            ReviewCase.about_id == case.id, ReviewCase.outcome.is_(None)
        )
        other = session.scalars(query).one_or_none()
        if other is None or made.action != "allow":
            return None
    order = Order(
        action="allow" if made.action == "allow" else "block",
        category=made.category,
        reason=made.reason,
        note=f"Decided with case {case.id}.",
        seen=other.decision_id,
    )
    _write(session, reviewer, other, order, effect)
    return other


def _write(
    session: Session, reviewer: Member, case: ReviewCase, order: Order, effect: Effect
) -> "Decision":
    reason, note = order.reason.strip(), order.note.strip()
    if (
        not REASON_CHARACTERS_MIN <= len(reason) <= REASON_CHARACTERS_MAX
        or len(note) > NOTE_CHARACTERS_MAX
    ):
        raise InvalidDecision(
            f"Give the reason in {REASON_CHARACTERS_MIN} to {REASON_CHARACTERS_MAX} characters; "
            f"the note may have {NOTE_CHARACTERS_MAX}."
        )
    closed = cases.close(
        session,
        case.id,
        order.action,
        seen_decision_id=order.seen,
        category=order.category if order.action == "block" else None,
    )
    made = Decision(
        organisation_id=closed.organisation_id,
        case_id=closed.id,
        reviewer_id=reviewer.id,
        action=order.action,
        category=order.category or closed.category,
        reason=reason,
        note=note,
        reverses=order.seen,
        effect=effect,
        blocks_hash=order.blocks_hash,
        suspends=order.suspends,
        at=now(),
    )
    session.add(made)
    session.flush()
    cases.name_decision(session, closed.id, made.id)
    return made


def of_case(session: Session, case_id: int) -> list["Decision"]:
    """Every decision on a case, oldest first."""
    query = select(Decision).where(Decision.case_id == case_id)
    return list(session.scalars(query.order_by(Decision.id)))


class Decision(Base):
    """One judgement of a person. Append-only; a reversal is a new row that names the old one."""

    __tablename__ = "decision"
    __table_args__ = (
        CheckConstraint("action IN ('block', 'allow')", name="action"),
        CheckConstraint("effect IN ('none', 'withheld', 'released')", name="effect"),
        UniqueConstraint("reverses"),
        Index(
            "ix_decision_first", "case_id", unique=True, postgresql_where=text("reverses IS NULL")
        ),
        Index("ix_decision_case_id", "case_id", "id"),
        Index("ix_decision_organisation_id_at", "organisation_id", "at"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    reviewer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    action: Mapped[str]
    category: Mapped[str | None]
    reason: Mapped[str]
    note: Mapped[str]
    reverses: Mapped[int | None] = mapped_column(ForeignKey("decision.id"))
    effect: Mapped[str]
    blocks_hash: Mapped[bool]
    suspends: Mapped[bool]
    at: Mapped[datetime]
