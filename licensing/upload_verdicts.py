"""What the safety desk said of a file that came with a report, for whoever decides the report.

Owns the append-only table `upload_verdict`. The file itself is kept nowhere and nobody is refused
for what it shows; a verdict makes a case more urgent and closes it to all but named reviewers, and
never the other way round.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now
from licensing.moderation import Action


@dataclass(frozen=True)
class Judgement:
    """`score` is 0 to 1, `category` names what was found, `source` who judged."""

    action: Action
    category: str | None
    score: float
    source: str


def record(
    session: Session, judgement: Judgement, *, organisation_id: uuid.UUID, report_id: int
) -> None:
    """Append what was said of a report's file."""
    session.add(
        UploadVerdict(
            organisation_id=organisation_id,
            report_id=report_id,
            action=judgement.action,
            category=judgement.category,
            score=judgement.score,
            source=judgement.source,
            at=now(),
        )
    )


def of_report(session: Session, report_id: int) -> "UploadVerdict | None":
    """What was said of a report's file; None without one, or where no filter could say."""
    query = select(UploadVerdict).where(UploadVerdict.report_id == report_id)
    return session.scalars(query).one_or_none()


class UploadVerdict(Base):
    """One judgement on a file that was brought. Append-only."""

    __tablename__ = "upload_verdict"
    __table_args__ = (
        CheckConstraint("action IN ('allow', 'review', 'block')", name="action"),
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        UniqueConstraint("report_id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"))
    action: Mapped[str]
    category: Mapped[str | None]
    score: Mapped[float]
    source: Mapped[str]
    at: Mapped[datetime]
