"""The reviewers' cases: what waits for a person's judgement, how urgent it is, and until when.

Owns the table `review_case`. A case is opened by a verdict that did not simply allow
(`licensing.moderation`), a report, an appeal or an alarm about somebody's refusals. It is closed by
one conditional UPDATE, so that two reviewers cannot decide it twice; the words of a decision are a
row of `licensing.decisions`. What a case is about is named by generation and index, because a
picture may be erased while its history stays.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    and_,
    func,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now
from licensing.errors import AtelierError, NotFound

Kind = Literal["prompt", "picture", "report", "take_down", "appeal", "abuse", "adapter"]
Outcome = Literal["block", "allow"]

# Sexual content with minors, as the rules, the filters and the lists of known pictures name it.
MINORS = frozenset({"minors", "minors_sexual", "minors-sexual", "csam"})

# Cases about something that can be seen: a LoRA is judged by its pictures.
SHOWN = frozenset({"picture", "report", "take_down", "adapter"})

URGENT, CLOCKED, UNHURRIED = 0, 1, 2  # the order in which the desk shows what is open

# The TAKE IT DOWN Act (in force since 19 May 2026) gives a platform 48 hours.
TAKE_DOWN_TIME = timedelta(hours=48)
MINORS_TIME = timedelta(hours=24)  # the law says "as soon as reasonably possible"; a day is ours
APPEAL_TIME = timedelta(days=7)  # the DSA asks for a timely answer (Article 20); a week is ours
REPORT_TIME = timedelta(days=3)  # a colleague saw something that is out in the open
DELIVERED_TIME = timedelta(days=3)  # it was let through to be looked at, so somebody has it
ABUSE_TIME = timedelta(days=2)  # the person cannot generate until somebody has looked


class AlreadyDecided(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Somebody else decided the case, or changed its decision, since this page was drawn."""

    code = "already_decided"
    status = 409


@dataclass(frozen=True)
class Subject:
    """What a case is about, as far as it is about something that was made."""

    member_id: uuid.UUID | None = None
    generation_id: uuid.UUID | None = None
    picture_index: int | None = None
    adapter_id: uuid.UUID | None = None


def open_case(
    session: Session,
    organisation_id: uuid.UUID,
    kind: Kind,
    *,
    category: str | None,
    subject: Subject,
    verdict_id: int | None = None,
    about_id: int | None = None,
    was_delivered: bool = False,
) -> "ReviewCase":
    """Open a case with the clock of its kind; returns it with its number.

    `was_delivered` says of a verdict that the thing is out and a person should look.
    """
    moment = now()
    priority, allowed = _urgency(kind, category, was_delivered=was_delivered)
    case = ReviewCase(
        organisation_id=organisation_id,
        kind=kind,
        priority=priority,
        category=category,
        member_id=subject.member_id,
        verdict_id=verdict_id,
        about_id=about_id,
        generation_id=subject.generation_id,
        picture_index=subject.picture_index,
        adapter_id=subject.adapter_id,
        opened_at=moment,
        due_at=None if allowed is None else moment + allowed,
    )
    session.add(case)
    session.flush()
    return case


def access(session: Session, organisation_id: uuid.UUID, case_id: int) -> "ReviewCase":
    """Return a case of an organisation. Raises `NotFound`; somebody else's looks missing."""
    query = select(ReviewCase).where(
        ReviewCase.id == case_id, ReviewCase.organisation_id == organisation_id
    )
    found = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise NotFound("There is no such case.")
    return found


def close(
    session: Session,
    case_id: int,
    outcome: Outcome,
    *,
    seen_decision_id: int | None,
    category: str | None = None,
) -> "ReviewCase":
    """Close an open case, or turn a closed one over: check and act are one UPDATE.

    `seen_decision_id` is the decision that the reviewer saw, None for an open case; a `category`
    replaces the one that the case was opened with. Raises
    `AlreadyDecided` if that is no longer how the case stands. The row stays locked until the end of
    the transaction; the caller writes the decision and names it with `name_decision`.
    """
    seen = (
        ReviewCase.outcome.is_(None)
        if seen_decision_id is None
        else and_(ReviewCase.decision_id == seen_decision_id, ReviewCase.outcome != outcome)
    )
    changed = session.scalars(
        update(ReviewCase)
        .where(ReviewCase.id == case_id, seen)
        .values(
            outcome=outcome,
            decided_at=func.clock_timestamp(),
            category=func.coalesce(category, ReviewCase.category),
        )
        .returning(ReviewCase)
        .execution_options(populate_existing=True, synchronize_session=False)
    ).one_or_none()
    if changed is None:
        raise AlreadyDecided("Somebody else has decided this case meanwhile. Look again.")
    return changed


def name_decision(session: Session, case_id: int, decision_id: int) -> None:
    """Let a case name its latest decision; the caller has just closed it."""
    session.execute(
        update(ReviewCase).where(ReviewCase.id == case_id).values(decision_id=decision_id)
    )


def is_narrowed(session: Session, case: "ReviewCase") -> bool:
    """Whether only reviewers with special access may open what the case is about.

    Sexual content with minors that is a picture, or is said to be one; and an appeal about such a
    case. Words that were refused are shown to every reviewer: nothing was made of them.
    """
    about = case if case.about_id is None else session.get_one(ReviewCase, case.about_id)
    return about.category in MINORS and about.kind in SHOWN


def _urgency(
    kind: Kind, category: str | None, *, was_delivered: bool
) -> tuple[int, timedelta | None]:
    if category in MINORS and kind in SHOWN:
        return URGENT, MINORS_TIME
    allowed: dict[str, tuple[int, timedelta]] = {
        "take_down": (URGENT, TAKE_DOWN_TIME),
        "appeal": (CLOCKED, APPEAL_TIME),
        "report": (CLOCKED, REPORT_TIME),
        "abuse": (CLOCKED, ABUSE_TIME),
    }
    if kind in allowed:
        return allowed[kind]
    # What was refused harms nobody and its maker can appeal: there is no clock before they do.
    return (CLOCKED, DELIVERED_TIME) if was_delivered else (UNHURRIED, None)


class ReviewCase(Base):
    """One thing to judge. Open while `outcome` is None; `decision_id` names the latest decision."""

    __tablename__ = "review_case"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('prompt', 'picture', 'report', 'take_down', 'appeal', 'abuse', 'adapter')",
            name="kind",
        ),
        CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),
        CheckConstraint("outcome IN ('block', 'allow')", name="outcome"),
        CheckConstraint("(outcome IS NULL) = (decided_at IS NULL)", name="decided"),
        UniqueConstraint("verdict_id"),
        Index(
            "ix_review_case_open",
            "organisation_id",
            "priority",
            "due_at",
            "id",
            postgresql_where=text("outcome IS NULL"),
        ),
        Index(
            "ix_review_case_closed",
            "organisation_id",
            "decided_at",
            "id",
            postgresql_where=text("outcome IS NOT NULL"),
        ),
        Index("ix_review_case_member_id", "member_id", "id"),
        Index("ix_review_case_generation_id", "generation_id"),
        Index(
            "ix_review_case_abuse",
            "member_id",
            unique=True,
            postgresql_where=text("kind = 'abuse' AND outcome IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    priority: Mapped[int]
    category: Mapped[str | None]
    member_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    verdict_id: Mapped[int | None] = mapped_column(ForeignKey("verdict.id"))
    about_id: Mapped[int | None] = mapped_column(ForeignKey("review_case.id"))
    generation_id: Mapped[uuid.UUID | None]
    picture_index: Mapped[int | None]
    adapter_id: Mapped[uuid.UUID | None]
    opened_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    decision_id: Mapped[int | None]
