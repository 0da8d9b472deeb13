"""Evidence of sexual content with minors: locked in the database, with a checklist and a clock.

Owns `evidence_lock` (pictures), `adapter_lock` (LoRAs, by the grid that they drew) and the
append-only `evidence_step`. While a lock holds, triggers of the database keep the row of the
picture or LoRA and its generation's request from being deleted or rewritten and the thing from
being released, whichever verb tries. The clock is a year from the lock, and anew from the report to
the authorities; locks are lengthened, never shortened or taken off.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    UniqueConstraint,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import cases, review_access
from licensing.cases import ReviewCase
from licensing.db import Base, now
from licensing.errors import Conflict, NotFound
from licensing.seats import Member

# The REPORT Act (2024) has what was reported preserved for a year; so does our own rule before it.
KEPT = timedelta(days=365)
NOTE_CHARACTERS_MAX = 300

REPORTED = "reported"


@dataclass(frozen=True)
class Step:
    """One line of the checklist."""

    key: str
    title: str
    help: str


# In the order in which they are done. Which authority it is, the operator's jurisdiction says.
STEPS = (
    Step("seen", "Judged once, by one person", "Look as little as the judgement needs. No copies."),
    Step(
        "suspended",
        "The account is suspended, or it is said why not",
        "Suspending ends sessions, keys and jobs at once.",
    ),
    Step(
        "blocked",
        "The hash of the picture is on the block list",
        "So that it is not made or brought here again.",
    ),
    Step(
        REPORTED,
        "Reported to the authority or hotline",
        "Write the number of their receipt into the note. The year of keeping begins anew.",
    ),
    Step("model", "Krea was told, if a Krea model made it", "By mail to safety@krea.ai."),
    Step("care", "Whoever had to look was offered a pause", "Looking does harm. Somebody asks."),
)
_KEYS = {step.key for step in STEPS}


@dataclass(frozen=True)
class Done:
    """A step that somebody ticked."""

    by: str
    at: datetime
    note: str


def lock(session: Session, case: ReviewCase) -> bool:
    """Lock what a case is about, if it was made or brought here. Again is harmless."""
    moment = now()
    given = {
        "organisation_id": case.organisation_id,
        "case_id": case.id,
        "locked_at": moment,
        "keep_until": moment + KEPT,
    }
    if case.adapter_id is not None:
        adding = insert(AdapterLock).values(adapter_id=case.adapter_id, **given)
    elif case.generation_id is not None and case.picture_index is not None:
        adding = insert(EvidenceLock).values(
            generation_id=case.generation_id, picture_index=case.picture_index, **given
        )
    else:
        return False
    session.execute(adding.on_conflict_do_nothing())
    return True


def lock_of(
    session: Session, generation_id: uuid.UUID | None, picture_index: int | None
) -> "EvidenceLock | None":
    """The lock on a picture, in force or run out."""
    query = select(EvidenceLock).where(
        EvidenceLock.generation_id == generation_id, EvidenceLock.picture_index == picture_index
    )
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def lock_of_adapter(session: Session, adapter_id: uuid.UUID) -> "AdapterLock | None":
    """The lock on a LoRA and its grid, in force or run out."""
    return session.get(AdapterLock, adapter_id, populate_existing=True)


def lock_about(session: Session, case: ReviewCase) -> "EvidenceLock | AdapterLock | None":
    """The lock on whatever a case is about, in force or run out."""
    if case.adapter_id is not None:
        return lock_of_adapter(session, case.adapter_id)
    return lock_of(session, case.generation_id, case.picture_index)


def locks(session: Session) -> list["EvidenceLock"]:
    """Every lock on a picture of the studio, those that run out first before the others."""
    return list(session.scalars(select(EvidenceLock).order_by(EvidenceLock.keep_until)))


def adapter_locks(session: Session) -> list["AdapterLock"]:
    """Every lock on a LoRA, as `locks`."""
    return list(session.scalars(select(AdapterLock).order_by(AdapterLock.keep_until)))


def tick(session: Session, reviewer: Member, case: ReviewCase, step: str, *, note: str) -> None:
    """Write down that a step is done. Raises `NotFound`, `AccessNarrowed`, `Conflict` if it was."""
    if not cases.is_narrowed(session, case) or step not in _KEYS:
        raise NotFound("There is no such step.")
    review_access.require(session, reviewer)
    said = " ".join(note.split())[:NOTE_CHARACTERS_MAX]
    if step == REPORTED:
        said = review_access.require_reason(note)
    adding = insert(EvidenceStep).values(
        organisation_id=case.organisation_id,
        case_id=case.id,
        step=step,
        member_id=reviewer.id,
        note=said,
        at=now(),
    )
    done = session.execute(adding.on_conflict_do_nothing().returning(EvidenceStep.id)).all()
    if not done:
        raise Conflict("A colleague has ticked this step already.")
    if step == REPORTED:
        _keep_longer(session, case)


def steps_done(session: Session, case_id: int) -> dict[str, Done]:
    """What was ticked on a case, by the step's key."""
    rows = session.execute(
        select(EvidenceStep.step, Member.name, EvidenceStep.at, EvidenceStep.note)
        .join(Member, Member.id == EvidenceStep.member_id)
        .where(EvidenceStep.case_id == case_id)
    )
    return {step: Done(by, at, note) for step, by, at, note in rows}


def _keep_longer(session: Session, case: ReviewCase) -> None:
    until = now() + KEPT
    if case.adapter_id is not None:
        session.execute(
            update(AdapterLock)
            .where(AdapterLock.adapter_id == case.adapter_id)
            .values(keep_until=func.greatest(AdapterLock.keep_until, until))
        )
        return
    session.execute(
        update(EvidenceLock)
        .where(
            EvidenceLock.generation_id == case.generation_id,
            EvidenceLock.picture_index == case.picture_index,
        )
        .values(keep_until=func.greatest(EvidenceLock.keep_until, until))
    )


class EvidenceLock(Base):
    """One locked picture. The row outlives the lock and says that there was one."""

    __tablename__ = "evidence_lock"
    __table_args__ = (CheckConstraint("keep_until > locked_at", name="kept"),)

    generation_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    picture_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    locked_at: Mapped[datetime]
    keep_until: Mapped[datetime]


class AdapterLock(Base):
    """One locked LoRA, with the grid that it drew. The row outlives the lock, as above."""

    __tablename__ = "adapter_lock"
    __table_args__ = (CheckConstraint("keep_until > locked_at", name="kept"),)

    adapter_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("adapter.id"), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    locked_at: Mapped[datetime]
    keep_until: Mapped[datetime]


class EvidenceStep(Base):
    """One ticked step of a case's checklist: who, when, and what they noted."""

    __tablename__ = "evidence_step"
    __table_args__ = (UniqueConstraint("case_id", "step"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    step: Mapped[str]
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    note: Mapped[str]
    at: Mapped[datetime]
