"""Who may open evidence of sexual content with minors: the append-only table `review_grant`.

Being a reviewer is not enough. An owner gives the access to a named reviewer and takes it back,
each with a reason; the operator does so by command. The latest row counts. Nobody gives it to
themselves, and it is worth nothing to whoever is no active reviewer or owner any more.
"""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now
from licensing.errors import AtelierError, NotAllowed, NotFound
from licensing.seats import Member, Page, Role, Status, get_member, may, members

REASON_CHARACTERS_MIN, REASON_CHARACTERS_MAX = 3, 300


class AccessNarrowed(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The evidence is open to named reviewers alone."""

    code = "access_narrowed"
    status = 403


class ReasonNeeded(AtelierError):  # noqa: N818 - reads as the answer that it is
    """It is written down why; without a reason it is not done."""

    code = "reason_needed"
    status = 422


def require(session: Session, reviewer: Member) -> None:
    """Raise `AccessNarrowed` unless `reviewer` was given the access and holds their role still."""
    if not has(session, reviewer):
        raise AccessNarrowed(
            "This evidence is locked. Only reviewers whom an owner has named may open or decide it."
        )


def has(session: Session, member: Member) -> bool:
    """Whether the member's latest row gives the access, and their role and status still do."""
    if member.status != Status.ACTIVE or not may(member.role, Page.REVIEW):
        return False
    query = select(ReviewGrant.is_given).where(ReviewGrant.member_id == member.id)
    return bool(session.scalar(query.order_by(ReviewGrant.id.desc()).limit(1)))


def change(
    session: Session, owner: Member, member_id: uuid.UUID, *, is_given: bool, reason: str
) -> Member:
    """Give a reviewer the access or take it back; returns them.

    Raises `NotAllowed` for anybody but an owner and for oneself, `NotFound` for who is no reviewer
    of the organisation, `ReasonNeeded`.
    """
    if owner.role != Role.OWNER:
        raise NotAllowed("Only an owner names the reviewers who may open locked evidence.")
    if owner.id == member_id:
        raise NotAllowed("Nobody gives this access to themselves. Ask another owner.")
    member = get_member(session, member_id)
    if member is None or member.organisation_id != owner.organisation_id:
        raise NotFound("There is no such reviewer.")
    return _write(session, member, owner, owner.name, is_given=is_given, reason=reason)


def change_by_operator(
    session: Session, member: Member, given_by: str, *, is_given: bool, reason: str
) -> Member:
    """As `change`, by the command of whoever runs the studio."""
    return _write(session, member, None, given_by, is_given=is_given, reason=reason)


def reviewers(session: Session, organisation_id: uuid.UUID) -> list[tuple[Member, bool]]:
    """Everybody who sits at the desk, and whether they have the access."""
    found = [one for one in members(session, organisation_id) if may(one.role, Page.REVIEW)]
    return [(one, has(session, one)) for one in found]


def require_reason(reason: str) -> str:
    """Return a reason without the spaces around it. Raises `ReasonNeeded`."""
    said = " ".join(reason.split())
    if not REASON_CHARACTERS_MIN <= len(said) <= REASON_CHARACTERS_MAX:
        raise ReasonNeeded(
            f"Say why, in {REASON_CHARACTERS_MIN} to {REASON_CHARACTERS_MAX} characters. It is "
            "written down with your name."
        )
    return said


def _write(
    session: Session,
    member: Member,
    by: Member | None,
    by_name: str,
    *,
    is_given: bool,
    reason: str,
) -> Member:
    if is_given and (member.status != Status.ACTIVE or not may(member.role, Page.REVIEW)):
        raise NotFound("There is no such reviewer.")
    session.add(
        ReviewGrant(
            organisation_id=member.organisation_id,
            member_id=member.id,
            given_by=by.id if by else None,
            given_by_name=by_name,
            is_given=is_given,
            reason=require_reason(reason),
            at=now(),
        )
    )
    session.flush()
    return member


class ReviewGrant(Base):
    """One change of somebody's access. `given_by` is None where the operator made it."""

    __tablename__ = "review_grant"
    __table_args__ = (
        CheckConstraint("char_length(reason) BETWEEN 3 AND 300", name="reason"),
        Index("ix_review_grant_member_id", "member_id", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    given_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    given_by_name: Mapped[str]
    is_given: Mapped[bool]
    reason: Mapped[str]
    at: Mapped[datetime]
