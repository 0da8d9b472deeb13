"""Documents between the operator and one organisation: processing agreement, service level, terms.

Owns the append-only tables `organisation_document` and `document_acceptance`. A document is kept
word for word in versions; of each kind the version that took effect last is in force. Terms are for
every `members` to accept; agreements of the organisation as a whole are accepted by an `owner`, and
where a day is set, nobody generates after it until one has. `licensing.agreements` asks.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, ForeignKey, Identity, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import seats, tiers
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict, NotAllowed, NotFound
from licensing.seats import Member, Role
from licensing.tiers import Feature

Kind = Literal["dpa", "sla", "custom-terms"]
Audience = Literal["owner", "members", "withdrawn"]

FEATURE_OF: dict[str, Feature] = {"dpa": "dpa", "sla": "sla", "custom-terms": "custom_terms"}
TEXT_CHARACTERS_MAX = 200_000  # a long contract; a book is a mistake
LABEL_CHARACTERS_MAX = 120  # a title or a version, on one line


class DocumentOverdue(AtelierError):  # noqa: N818 - reads as the answer that it is
    """No owner has accepted a document by its day, so nobody in the organisation generates."""

    code = "document_overdue"
    status = 403


@dataclass(frozen=True)
class InForce:
    """A document in force for a member: whether they, or any owner, have accepted it."""

    document: "OrganisationDocument"
    is_accepted_by_member: bool
    is_accepted: bool

    def is_asked_of(self, member: Member) -> bool:
        """Whether the member still has it to accept."""
        if self.document.audience == "members":
            return not self.is_accepted_by_member
        return (
            self.document.audience == "owner" and member.role == Role.OWNER and not self.is_accepted
        )

    def is_overdue(self, at: datetime) -> bool:
        """Whether it stops the organisation."""
        due = self.document.accept_by
        is_waiting = self.document.audience == "owner" and not self.is_accepted
        return is_waiting and due is not None and due <= at


def publish(
    session: Session,
    organisation_id: uuid.UUID,
    *,
    kind: Kind,
    version: str,
    title: str,
    text: str,
    audience: Audience,
    given_by: str,
    author_id: uuid.UUID | None = None,
    effective_at: datetime | None = None,
    accept_by: datetime | None = None,
) -> "OrganisationDocument":
    """Put a version on file; from `effective_at` (default: now) on it is asked for.

    The audience `withdrawn` ends the kind: nothing is asked any more. Raises `Conflict` for a
    version that is on file, an empty text or a day that lies before the version, `TierRequired`.
    """
    seats.lock(session, organisation_id)
    if audience != "withdrawn":
        tiers.require(session, organisation_id, FEATURE_OF[kind])
    at = now()
    begins = effective_at or at
    label, heading = _label(version, "version"), _label(title, "title")
    _require_text(text, audience)
    if accept_by is not None and accept_by <= begins:
        raise Conflict("The day by which it has to be accepted lies before its first day.")
    known = select(OrganisationDocument.id).where(
        OrganisationDocument.organisation_id == organisation_id,
        OrganisationDocument.kind == kind,
        OrganisationDocument.version == label,
    )
    if session.scalars(known).first() is not None:
        raise Conflict(f"Version {label} is on file already, and is never rewritten.")
    made = OrganisationDocument(
        id=uuid.uuid4(),
        organisation_id=organisation_id,
        kind=kind,
        version=label,
        title=heading,
        text=text,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        audience=audience,
        given_by=_label(given_by, "name"),
        author_id=author_id,
        created_at=at,
        effective_at=begins,
        accept_by=accept_by,
    )
    session.add(made)
    session.flush()
    return made


def in_force(session: Session, member: Member, *, at: datetime | None = None) -> list[InForce]:
    """The documents in force for a member's organisation, one a kind; withdrawn kinds left out."""
    accepted = (
        select(DocumentAcceptance.id)
        .where(DocumentAcceptance.document_id == OrganisationDocument.id)
        .correlate(OrganisationDocument)
    )
    query = (
        select(
            OrganisationDocument,
            accepted.where(DocumentAcceptance.member_id == member.id).exists(),
            accepted.exists(),
        )
        .where(
            OrganisationDocument.organisation_id == member.organisation_id,
            OrganisationDocument.effective_at <= (at or now()),
        )
        .ext(distinct_on(OrganisationDocument.kind))
        .order_by(
            OrganisationDocument.kind,
            OrganisationDocument.effective_at.desc(),
            OrganisationDocument.created_at.desc(),
        )
    )
    return [
        InForce(document, is_accepted_by_member=by_member, is_accepted=by_anyone)
        for document, by_member, by_anyone in session.execute(query)
        if document.audience != "withdrawn"
    ]


def accept(session: Session, member: Member, document_id: uuid.UUID, at: datetime) -> None:
    """Store that a member accepted a document; again is harmless, the first time counts.

    Raises `NotFound` for another organisation's, `NotAllowed` where an owner has to do it.
    """
    document = session.get(OrganisationDocument, document_id)
    if document is None or document.organisation_id != member.organisation_id:
        raise NotFound("There is no such document.")
    if document.audience == "owner" and member.role != Role.OWNER:
        raise NotAllowed("Only an owner can accept this for the organisation.")
    row = {
        "document_id": document.id,
        "member_id": member.id,
        "text_sha256": document.text_sha256,
        "accepted_at": at,
    }
    session.execute(insert(DocumentAcceptance).values(row).on_conflict_do_nothing())


def on_file(session: Session, organisation_id: uuid.UUID) -> list["OrganisationDocument"]:
    """Every version of every document of an organisation, newest first."""
    query = select(OrganisationDocument).where(
        OrganisationDocument.organisation_id == organisation_id
    )
    newest = (OrganisationDocument.created_at.desc(), OrganisationDocument.id)
    return list(session.scalars(query.order_by(*newest)))


def acceptances(
    session: Session, document_id: uuid.UUID
) -> list[tuple["DocumentAcceptance", Member]]:
    """Who accepted a document when, first to last."""
    query = (
        select(DocumentAcceptance, Member)
        .join(Member, Member.id == DocumentAcceptance.member_id)
        .where(DocumentAcceptance.document_id == document_id)
        .order_by(DocumentAcceptance.id)
    )
    return [(acceptance, member) for acceptance, member in session.execute(query)]


def _require_text(text: str, audience: str) -> None:
    if audience != "withdrawn" and not text.strip():
        raise Conflict("The document is empty.")
    if len(text) > TEXT_CHARACTERS_MAX or "\0" in text:
        raise Conflict(f"A document has at most {TEXT_CHARACTERS_MAX:,} characters of text.")


def _label(given: str, what: str) -> str:
    words = " ".join(given.split())
    if not words or len(words) > LABEL_CHARACTERS_MAX or not words.isprintable():
        raise Conflict(f"Write a {what} of 1 to {LABEL_CHARACTERS_MAX} characters.")
    return words


class OrganisationDocument(Base):
    """One version of a document between the operator and an organisation. Append-only."""

    __tablename__ = "organisation_document"
    __table_args__ = (
        UniqueConstraint("organisation_id", "kind", "version"),
        CheckConstraint("kind IN ('dpa', 'sla', 'custom-terms')", name="kind"),
        CheckConstraint("audience IN ('owner', 'members', 'withdrawn')", name="audience"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    kind: Mapped[str]
    version: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    text_sha256: Mapped[str]
    audience: Mapped[str]
    given_by: Mapped[str]
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    created_at: Mapped[datetime]
    effective_at: Mapped[datetime]
    accept_by: Mapped[datetime | None]


class DocumentAcceptance(Base):
    """A member accepted a document, for themselves or as owner for all. Append-only."""

    __tablename__ = "document_acceptance"
    __table_args__ = (UniqueConstraint("document_id", "member_id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    document_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation_document.id"))
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    text_sha256: Mapped[str]
    accepted_at: Mapped[datetime]
