"""The texts that a member accepts before the first picture, and who accepted which when.

Owns the append-only table `acceptance`, for the texts that everybody accepts: dated versions in
`texts/agreements.toml`, one file each. An acceptance stores the version and the SHA-256 of the text
that was shown, so that what somebody agreed to can be proved; a new version, or a changed text,
asks again. The documents of one organisation are asked for here too; `licensing.documents` keeps
them.
"""

import hashlib
import tomllib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources

from sqlalchemy import ForeignKey, Identity, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import documents, seats
from licensing.db import Base, now
from licensing.documents import DocumentOverdue, InForce
from licensing.errors import AtelierError
from licensing.seats import Member


@dataclass(frozen=True)
class Agreement:
    """One text in one version; `text` is Markdown. A document of an organisation has its id."""

    kind: str
    version: str
    title: str
    text: str
    document_id: uuid.UUID | None = None
    is_for_owner: bool = False  # an owner accepts it for the organisation as a whole

    @property
    def text_sha256(self) -> str:
        """The fingerprint of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class AgreementRequired(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The member has not accepted every text in force; `missing` names them."""

    code = "agreement_required"
    status = 403

    def __init__(self, missing: tuple[Agreement, ...]) -> None:
        """Name the texts that are still to be read."""
        self.missing = missing
        titles = " and ".join(f"“{agreement.title}”" for agreement in missing)
        super().__init__(f"Please read and accept {titles} before you generate.")


def current(at: datetime | None = None) -> tuple[Agreement, ...]:
    """The texts in force for everybody at a moment (default: now), as they are shown."""
    moment = at or now()
    newest: dict[str, Agreement] = {}
    for effective, agreement in _versions():
        if effective <= moment:
            newest[agreement.kind] = agreement  # keeps the place of the kind's first version
    return tuple(newest.values())


def require_accepted(session: Session, member_id: uuid.UUID) -> None:
    """Raise `AgreementRequired` unless the member accepted every text in force.

    Raises `DocumentOverdue` if their organisation as a whole let a day pass.
    """
    member = _member(session, member_id)
    asked = documents.in_force(session, member)
    still_missing = _missing(session, member, asked)
    if still_missing:
        raise AgreementRequired(still_missing)
    overdue = overdue_sentence(asked)
    if overdue is not None:
        raise DocumentOverdue(overdue)


def missing(session: Session, member_id: uuid.UUID) -> tuple[Agreement, ...]:
    """The texts without which the member cannot generate, and has not accepted word for word."""
    member = _member(session, member_id)
    return _missing(session, member, documents.in_force(session, member))


def to_accept(session: Session, member_id: uuid.UUID) -> tuple[Agreement, ...]:
    """What `missing` holds, and for an owner what waits for an owner of the organisation."""
    member = _member(session, member_id)
    asked = documents.in_force(session, member)
    for_owner = [each for each in asked if each.document.audience == "owner"]
    return (
        *_missing(session, member, asked),
        *(_agreement(each) for each in for_owner if each.is_asked_of(member)),
    )


def in_force_for(session: Session, member_id: uuid.UUID) -> tuple[Agreement, ...]:
    """Every text that concerns the member now, accepted or not, as the page shows them."""
    member = _member(session, member_id)
    return (*current(), *(_agreement(each) for each in documents.in_force(session, member)))


def accept(
    session: Session, member_id: uuid.UUID, agreements: Iterable[Agreement], at: datetime
) -> None:
    """Store that the member accepted these texts; again is harmless, the first time counts.

    Raises `NotFound` and `NotAllowed` for a document that is not theirs to accept.
    """
    chosen = list(agreements)
    rows = [
        {
            "member_id": member_id,
            "kind": agreement.kind,
            "version": agreement.version,
            "text_sha256": agreement.text_sha256,
            "accepted_at": at,
        }
        for agreement in chosen
        if agreement.document_id is None
    ]
    if rows:
        session.execute(insert(Acceptance).values(rows).on_conflict_do_nothing())
    for agreement in chosen:
        if agreement.document_id is not None:
            documents.accept(session, _member(session, member_id), agreement.document_id, at)


def acceptances(session: Session, member_id: uuid.UUID) -> list["Acceptance"]:
    """What a member accepted when, of the texts for everybody; newest first."""
    query = select(Acceptance).where(Acceptance.member_id == member_id)
    return list(session.scalars(query.order_by(Acceptance.id.desc())))


def overdue_sentence(asked: Iterable[InForce], at: datetime | None = None) -> str | None:
    """Say which document stops the organisation; None if none does."""
    for each in asked:
        if each.is_overdue(at or now()):
            return (
                f"Your organisation had to accept “{each.document.title}” by "
                f"{each.document.accept_by:%d %B %Y}. An owner can do it under /agreements."
            )
    return None


def _missing(session: Session, member: Member, asked: Iterable[InForce]) -> tuple[Agreement, ...]:
    query = select(Acceptance.kind, Acceptance.version, Acceptance.text_sha256).where(
        Acceptance.member_id == member.id
    )
    accepted = {tuple(row) for row in session.execute(query)}
    return (
        *(
            agreement
            for agreement in current()
            if (agreement.kind, agreement.version, agreement.text_sha256) not in accepted
        ),
        *(
            _agreement(each)
            for each in asked
            if each.document.audience == "members" and not each.is_accepted_by_member
        ),
    )


def _agreement(each: InForce) -> Agreement:
    document = each.document
    return Agreement(
        document.kind,
        document.version,
        document.title,
        document.text,
        document_id=document.id,
        is_for_owner=document.audience == "owner",
    )


def _member(session: Session, member_id: uuid.UUID) -> Member:
    member = seats.get_member(session, member_id)
    assert member is not None, "members are never deleted"
    return member


@cache
def _versions() -> tuple[tuple[datetime, Agreement], ...]:
    """Every version of every text with its first day, in the order of the list."""
    folder = resources.files("licensing").joinpath("texts")
    listed = tomllib.loads(folder.joinpath("agreements.toml").read_text("utf-8"))["agreement"]
    return tuple(
        (
            entry["effective"],
            Agreement(
                kind=entry["kind"],
                version=entry["version"],
                title=entry["title"],
                text=folder.joinpath(f"{entry['kind']}-{entry['version']}.md").read_text("utf-8"),
            ),
        )
        for entry in listed
    )


class Acceptance(Base):
    """A member accepted a text. Append-only."""

    __tablename__ = "acceptance"
    __table_args__ = (UniqueConstraint("member_id", "kind", "version", "text_sha256"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    kind: Mapped[str]
    version: Mapped[str]
    text_sha256: Mapped[str]
    accepted_at: Mapped[datetime]
