"""What changed in a team, when and by whom: the append-only table `seat_change`.

Each row carries the number of seats taken after it, so that the highest number of a day or a
quarter can be read back. Written through `licensing.seats.record`, under the organisation's lock.
"""

import uuid
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Index, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now


def changes(
    session: Session, organisation_id: uuid.UUID, *, limit: int, before_id: int | None = None
) -> list["SeatChange"]:
    """The latest changes to members and seats, newest first."""
    query = select(SeatChange).where(SeatChange.organisation_id == organisation_id)
    if before_id is not None:
        query = query.where(SeatChange.id < before_id)
    return list(session.scalars(query.order_by(SeatChange.id.desc()).limit(limit)))


def count(
    session: Session, organisation_id: uuid.UUID, kinds: Collection[str], *, since: datetime
) -> int:
    """Count the changes of some kinds since a moment."""
    query = select(func.count()).where(
        SeatChange.organisation_id == organisation_id,
        SeatChange.kind.in_(kinds),
        SeatChange.at > since,
    )
    return session.scalars(query).one()


def append(
    session: Session,
    organisation_id: uuid.UUID,
    kind: str,
    *,
    actor_id: uuid.UUID | None,
    member_id: uuid.UUID | None,
    detail: str,
    seats_taken: int,
) -> None:
    """Write one change; `seats_taken` counts assigned seats and held ones after it."""
    write(
        session,
        organisation_id,
        kind,
        actor_id=actor_id,
        member_id=member_id,
        detail=detail,
        seats_taken=seats_taken,
    )
    session.flush()


def write(
    session: Session,
    organisation_id: uuid.UUID,
    kind: str,
    *,
    actor_id: uuid.UUID | None,
    member_id: uuid.UUID | None,
    detail: str,
    seats_taken: int,
) -> None:
    """As `append`, for many at once: the caller flushes."""
    session.add(
        SeatChange(
            organisation_id=organisation_id,
            member_id=member_id,
            actor_id=actor_id,
            kind=kind,
            detail=detail,
            seats_taken=seats_taken,
            at=now(),
        )
    )


class SeatChange(Base):
    """One change. `actor_id` is None where the person came by themselves or by a command."""

    __tablename__ = "seat_change"
    __table_args__ = (Index("ix_seat_change_organisation_id_id", "organisation_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    member_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    actor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    kind: Mapped[str]
    detail: Mapped[str]
    seats_taken: Mapped[int]
    at: Mapped[datetime]
