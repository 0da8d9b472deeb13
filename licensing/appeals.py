"""What people say against a refusal, once and within its time: the append-only table `appeal`.

An appeal opens a case of its own with a clock; its answer is the decision on that case. Whoever
made the first decision does not answer (`licensing.decisions`).
"""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    and_,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from licensing import cases
from licensing.cases import ReviewCase, Subject
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict, NotFound
from licensing.moderation import Verdict
from licensing.seats import Member

# The DSA keeps a complaint open for at least six months (Article 20).
APPEAL_WINDOW = timedelta(days=183)
WORDS_CHARACTERS_MIN = 3
WORDS_CHARACTERS_MAX = 1000  # a page; the reviewer reads each one
OPEN_MAX = 20  # of one member at a time; somebody reads them all


class InvalidAppeal(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The appeal says nothing, or too much."""

    code = "invalid_appeal"
    status = 422


def file(session: Session, member: Member, case_id: int, *, words: str) -> "Appeal":
    """Appeal against the refusal of a member's own prompt or picture, or against a stop.

    Raises `NotFound` for what is not about the member, `Conflict` if it was appealed before, is not
    a refusal or its time is over, `InvalidAppeal`.
    """
    said = words.strip().replace("\0", "")
    if not WORDS_CHARACTERS_MIN <= len(said) <= WORDS_CHARACTERS_MAX:
        raise InvalidAppeal(
            f"Say in {WORDS_CHARACTERS_MIN} to {WORDS_CHARACTERS_MAX} characters why it was wrong."
        )
    case = _own(session, member, case_id)
    if session.scalar(select(Appeal.id).where(Appeal.case_id == case.id)) is not None:
        raise Conflict("You have appealed against this already. There is one appeal.")
    if case.outcome == "allow":
        raise Conflict("A reviewer has allowed this already.")
    if now() > until(case):
        raise Conflict(f"The time to appeal was over on {until(case):%-d %B %Y}.")
    waiting = select(func.count()).where(
        ReviewCase.kind == "appeal", ReviewCase.member_id == member.id, ReviewCase.outcome.is_(None)
    )
    if session.scalars(waiting).one() >= OPEN_MAX:
        raise Conflict(f"{OPEN_MAX} of your appeals wait for an answer. Wait for one of them.")
    answer = cases.open_case(
        session,
        case.organisation_id,
        "appeal",
        category=case.category,
        subject=Subject(member.id, case.generation_id, case.picture_index, case.adapter_id),
        about_id=case.id,
    )
    appeal = Appeal(
        organisation_id=case.organisation_id,
        case_id=case.id,
        answer_case_id=answer.id,
        member_id=member.id,
        words=said,
        at=now(),
    )
    session.add(appeal)
    session.flush()
    return appeal


def is_refusal_of(member_id: uuid.UUID) -> ColumnElement[bool]:
    """What a member is told of: what was refused them, by a filter or by a reviewer.

    A colleague's report is not, until a reviewer has agreed with it.
    """
    verdict = aliased(Verdict)
    blocked = exists().where(verdict.id == ReviewCase.verdict_id, verdict.action == "block")
    return and_(
        ReviewCase.member_id == member_id,
        ReviewCase.kind != "appeal",
        or_(blocked, ReviewCase.kind == "abuse", ReviewCase.outcome == "block"),
    )


def of_cases(session: Session, case_ids: Collection[int]) -> dict[int, "Appeal"]:
    """The appeals against some cases, by the number of the case."""
    found = session.scalars(select(Appeal).where(Appeal.case_id.in_(case_ids)))
    return {appeal.case_id: appeal for appeal in found}


def answered_by(session: Session, case_id: int) -> "Appeal | None":
    """The appeal that a case is to answer."""
    return session.scalars(select(Appeal).where(Appeal.answer_case_id == case_id)).one_or_none()


def until(case: ReviewCase) -> datetime:
    """Until when a case can be appealed: the window begins anew with a person's decision."""
    return (case.decided_at or case.opened_at) + APPEAL_WINDOW


def _own(session: Session, member: Member, case_id: int) -> ReviewCase:
    """Read the case and lock its row: of two appeals sent at once, one finds the other."""
    query = select(ReviewCase).where(
        ReviewCase.id == case_id,
        ReviewCase.organisation_id == member.organisation_id,
        is_refusal_of(member.id),
    )
    case = session.scalars(query.with_for_update()).one_or_none()
    if case is None:
        raise NotFound("There is no such refusal.")
    return case


class Appeal(Base):
    """One appeal; `answer_case_id` is the case that answers it."""

    __tablename__ = "appeal"
    __table_args__ = (
        UniqueConstraint("case_id"),
        UniqueConstraint("answer_case_id"),
        Index("ix_appeal_organisation_id_at", "organisation_id", "at"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    answer_case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    words: Mapped[str]
    at: Mapped[datetime]
