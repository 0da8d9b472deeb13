"""What was used: one line for each settled generation, written in the settling transaction.

Owns the append-only table `usage_line`. Bills read these lines and nothing else. A line copies the
member's name and address as they were, so that a bill of last year does not change with a marriage.
"""

import uuid
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base


def record(
    session: Session,
    *,
    generation_id: uuid.UUID,
    organisation_id: uuid.UUID,
    member_id: uuid.UUID,
    model: str,
    images: int,
    width: int,
    height: int,
    amount_micros: int,
    price_version: str,
    at: datetime,
) -> None:
    """Write the line of a generation whose hold was just settled by this transaction.

    `images` are the delivered ones, `width` and `height` pixels, `at` the time of settlement. A
    second line for one generation is the database's `IntegrityError`: a fault, never a retry.
    """
    values = {
        "generation_id": generation_id,
        "organisation_id": organisation_id,
        "member_id": member_id,
        "model": model,
        "images": images,
        "width": width,
        "height": height,
        "amount_micros": amount_micros,
        "price_version": price_version,
        "at": at,
    }
    written = session.execute(_RECORD, values).one_or_none()
    assert written is not None, "a usage line needs a member of the organisation"


@dataclass(frozen=True)
class DayUsage:
    """What one member used on one day (UTC)."""

    day: date
    member_id: uuid.UUID
    member_name: str
    generations: int
    images: int
    amount_micros: int


def by_member_and_day(
    session: Session, organisation_id: uuid.UUID, start: datetime, end: datetime
) -> list[DayUsage]:
    """Add up the lines from `start` (included) to `end` (excluded), newest day first."""
    values = {"organisation_id": organisation_id, "start": start, "end": end}
    return [DayUsage(*row) for row in session.execute(_BY_MEMBER_AND_DAY, values)]


def lines(
    session: Session, organisation_id: uuid.UUID, start: datetime, end: datetime
) -> list["UsageLine"]:
    """The lines from `start` (included) to `end` (excluded), oldest first."""
    query = select(UsageLine).where(
        UsageLine.organisation_id == organisation_id, UsageLine.at >= start, UsageLine.at < end
    )
    return list(session.scalars(query.order_by(UsageLine.at, UsageLine.id)))


class UsageLine(Base):
    """One settled generation. Append-only; a correction will be a line of its own."""

    __tablename__ = "usage_line"
    __table_args__ = (
        CheckConstraint("images >= 0 AND width > 0 AND height > 0", name="counts"),
        CheckConstraint("amount_micros >= 0", name="amount"),
        Index("ix_usage_line_organisation_id_at", "organisation_id", "at", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    generation_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    member_name: Mapped[str]
    member_email: Mapped[str]
    model: Mapped[str]
    images: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    amount_micros: Mapped[int]
    price_version: Mapped[str]
    at: Mapped[datetime]


_RECORD = text(
    """
    INSERT INTO usage_line (generation_id, organisation_id, member_id, member_name, member_email,
                            model, images, width, height, amount_micros, price_version, at)
    SELECT :generation_id, member.organisation_id, member.id, member.name, member.email, :model,
           :images, :width, :height, :amount_micros, :price_version, :at
      FROM member WHERE member.id = :member_id AND member.organisation_id = :organisation_id
    RETURNING id
    """
)

# The name shown is the one of the member's last line, so that a rename does not split the row.
_BY_MEMBER_AND_DAY = text(
    """
    SELECT (at AT TIME ZONE 'UTC')::date AS day, member_id,
           (array_agg(member_name ORDER BY id DESC))[1] AS member_name,
           count(*) AS generations, sum(images)::bigint AS images,
           sum(amount_micros)::bigint AS amount_micros
      FROM usage_line
     WHERE organisation_id = :organisation_id AND at >= :start AND at < :end
     GROUP BY day, member_id
     ORDER BY day DESC, member_name, member_id
    """
)
