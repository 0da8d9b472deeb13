"""The mail to the operator's owners that the yearly statement runs out soon: once a statement.

Owns the table `attestation_reminder`. When it is soon is said by `licensing.licence`.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base
from licensing.licence import first_founded, standing
from licensing.seats import Member, Role, Status


@dataclass(frozen=True)
class Reminder:
    """That the statement runs out soon: a sentence, and the addresses of who can renew it."""

    sentence: str
    addresses: list[str]


def take_reminder(session: Session, at: datetime) -> Reminder | None:
    """Return the reminder that is due at a moment, once for each statement; None if none is."""
    state = standing(session, at=at)
    if state.latest is None or not state.is_due_soon or state.latest.kind == "demonstration":
        return None
    taken = insert(AttestationReminder).values(attestation_id=state.latest.id, at=at)
    if not session.scalars(
        taken.on_conflict_do_nothing().returning(AttestationReminder.attestation_id)
    ).all():
        return None
    owners = select(Member).where(
        Member.organisation_id == first_founded(),
        Member.role == Role.OWNER,
        Member.status == Status.ACTIVE,
    )
    return Reminder(state.sentence, [owner.email for owner in session.scalars(owners)])


class AttestationReminder(Base):
    """The owners were told that a statement runs out soon.

    No foreign key: the statements' own guard against emptying their table would not be asked.
    """

    __tablename__ = "attestation_reminder"

    attestation_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
