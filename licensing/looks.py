"""Every look of a reviewer at private work, written down before it is granted: the table `look`.

Append-only. Private is what the filters did not refuse in words: a picture, or a prompt that was
let through. A look is good for one case, one reviewer and half an hour; after that it is asked for
again. Sexual content with minors is shown without its colours, which are a look of their own.
"""

import uuid
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import cases, review_access
from licensing.cases import ReviewCase
from licensing.db import Base, now
from licensing.seats import Member

What = Literal["picture", "colour", "prompt"]

LOOK_LIFETIME = timedelta(minutes=30)  # one sitting at one case; tomorrow somebody asks again

REASONS = (
    "To decide this case",
    "To answer an appeal",
    "To check the decision of a colleague",
    "To answer a request of the authorities",
)


def record(
    session: Session, reviewer: Member, case: ReviewCase, what: What, *, reason: str
) -> "Look":
    """Write down that `reviewer` looks, and why. Commit before anything is shown.

    Raises `ReasonNeeded`, and `AccessNarrowed` for locked evidence.
    """
    require_access(session, reviewer, case)
    look = Look(
        organisation_id=case.organisation_id,
        case_id=case.id,
        reviewer_id=reviewer.id,
        what=what,
        reason=review_access.require_reason(reason),
        at=now(),
    )
    session.add(look)
    session.flush()
    return look


def is_open(session: Session, reviewer: Member, case: ReviewCase, what: What) -> bool:
    """Whether `reviewer` wrote down such a look within the last half hour."""
    query = select(Look.id).where(
        Look.case_id == case.id,
        Look.reviewer_id == reviewer.id,
        Look.what == what,
        Look.at > now() - LOOK_LIFETIME,
    )
    return session.scalar(query.limit(1)) is not None


def require_access(session: Session, reviewer: Member, case: ReviewCase) -> None:
    """Raise `AccessNarrowed` where the case is open to named reviewers alone."""
    if cases.is_narrowed(session, case):
        review_access.require(session, reviewer)


def of_case(session: Session, case_id: int) -> list["Look"]:
    """Every look at a case, oldest first."""
    return list(session.scalars(select(Look).where(Look.case_id == case_id).order_by(Look.id)))


class Look(Base):
    """One look: who, at what, why, when."""

    __tablename__ = "look"
    __table_args__ = (
        CheckConstraint("what IN ('picture', 'colour', 'prompt')", name="what"),
        CheckConstraint("char_length(reason) BETWEEN 3 AND 300", name="reason"),
        Index("ix_look_case_id_reviewer_id", "case_id", "reviewer_id", "at"),
        Index("ix_look_organisation_id_at", "organisation_id", "at"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    reviewer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    what: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]
