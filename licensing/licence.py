"""Whether the operator may run a model: the yearly attestation, and no switch against it.

Owns the append-only table `attestation`, whose latest row counts. What the licence asks is dated
data (`licence_terms`). A model that the list does not free needs a valid attestation, so that
a model nobody thought of is closed. `require_valid` is asked when a job is submitted and again when
a worker takes it.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, ScalarSelect, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import model_switches
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict
from licensing.licence_terms import Terms, is_free, terms, years_after
from licensing.model_switches import ModelSwitch
from licensing.seats import Member, Organisation, Role, Status

Kind = Literal["below_threshold", "enterprise_licence", "demonstration"]
DUE_SOON = timedelta(days=30)  # a month's notice: long enough to ask whoever knows the revenue
CLOCK_SKEW = timedelta(hours=1)  # a statement from further in the future is a wrong clock's
WORDS_MAX = 500  # a name, a contract's number, a reason: a few sentences at most


class LicenceProblem(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The licence does not let this studio run the model now; nothing was charged."""

    code = "licence_problem"
    status = 403


class AttestationRequired(LicenceProblem):
    """The operator's statement about revenue is missing, withdrawn or more than a year old."""

    code = "attestation_required"


class ModelRevoked(LicenceProblem):
    """The model was switched off for everybody."""

    code = "model_revoked"


@dataclass(frozen=True)
class Standing:
    """How the operator's attestation stands; `latest` is None if there never was one."""

    terms: Terms
    latest: "Attestation | None"
    is_valid: bool
    is_due_soon: bool

    @property
    def sentence(self) -> str:
        """The state for people."""
        if self.is_valid and self.latest is not None:
            until = f"{self.latest.valid_until:%d %B %Y}"
            told = f"{self.latest.given_by} stated it on {self.latest.given_at:%d %B %Y}"
            return f"{told}; it is asked again on {until}."
        return _attestation_sentence(self.terms, self.latest)


def require_valid(session: Session, model_id: str, *, at: datetime | None = None) -> None:
    """Raise `ModelRevoked` or `AttestationRequired` if `model_id` may not be run at a moment."""
    found = problem(session, model_id, at=at)
    if found is not None:
        raise found


def problem(
    session: Session, model_id: str, *, at: datetime | None = None
) -> LicenceProblem | None:
    """Return why `model_id` may not be run at a moment (default: now); None if it may."""
    switched = model_switches.latest(session, model_id)
    if switched is not None and switched.is_off:
        return ModelRevoked(revoked_sentence(switched))
    if is_free(model_id):
        return None
    state = standing(session, at=at)
    if state.is_valid:
        return None
    return AttestationRequired(
        f"{state.sentence} An owner can make it under /licence, or the operator with "
        "`atelier attest`."
    )


def is_off(session: Session, model_id: str) -> bool:
    """Whether the model is switched off now."""
    switched = model_switches.latest(session, model_id)
    return switched is not None and switched.is_off


def sentence(session: Session, model_id: str) -> str | None:
    """Say why `model_id` may not be run now; None if it may."""
    found = problem(session, model_id)
    return None if found is None else found.message


def revoked_sentence(switched: ModelSwitch) -> str:
    """Say to whoever wanted the model that it is off, since when and why."""
    return (
        f"This model was switched off on {switched.at:%d %B %Y}: {switched.reason} "
        "Choose another model."
    )


def standing(session: Session, *, at: datetime | None = None) -> Standing:
    """Read how the operator's attestation stands at a moment (default: now)."""
    moment = at or now()
    asked = terms(moment)
    query = select(Attestation).where(Attestation.licence == asked.licence)
    latest = session.scalars(query.order_by(Attestation.id.desc()).limit(1)).first()
    is_valid = (
        latest is not None
        and latest.kind in asked.statements
        and latest.statement_sha256 == asked.statement_sha256(latest.kind)
        and latest.given_at - CLOCK_SKEW <= moment < latest.valid_until
    )
    is_due_soon = is_valid and latest is not None and latest.valid_until - moment <= DUE_SOON
    return Standing(asked, latest, is_valid=is_valid, is_due_soon=is_due_soon)


def attest(
    session: Session,
    kind: Kind,
    *,
    given_by: str,
    author_id: uuid.UUID | None,
    statement_sha256: str | None = None,
    reference: str = "",
    at: datetime | None = None,
) -> "Attestation":
    """Store the operator's statement, valid for a year.

    `statement_sha256` is the fingerprint of the text that was shown, where one was. Raises
    `Conflict` if that is not the text in force, or if a name or a contract's number is missing.
    """
    moment = at or now()
    asked = terms(moment)
    shown = asked.statement_sha256(kind)
    if statement_sha256 not in (None, shown):
        raise Conflict("The statement has changed since you opened it. Read it again.")
    if kind == "enterprise_licence" and not reference.strip():
        raise Conflict("Write the number or the date of the Enterprise License beside it.")
    made = Attestation(
        kind=kind,
        licence=asked.licence,
        licence_version=asked.version,
        statement_sha256=shown,
        reference=_words(reference),
        given_by=_name(given_by),
        author_id=author_id,
        given_at=moment,
        valid_until=years_after(moment, asked.years_valid),
    )
    session.add(made)
    session.flush()
    return made


def withdraw(
    session: Session, *, given_by: str, author_id: uuid.UUID | None, reason: str
) -> "Attestation":
    """Take the statement back, because it is not true any more: generation stops at once."""
    moment = now()
    asked = terms(moment)
    if not reason.strip():
        raise Conflict("Say why the statement is taken back.")
    made = Attestation(
        kind="withdrawn",
        licence=asked.licence,
        licence_version=asked.version,
        statement_sha256="",
        reference=_sentence(reason),
        given_by=_name(given_by),
        author_id=author_id,
        given_at=moment,
        valid_until=moment,
    )
    session.add(made)
    session.flush()
    return made


def attestations(session: Session, *, limit: int) -> list["Attestation"]:
    """Who stated what when, newest first."""
    return list(session.scalars(select(Attestation).order_by(Attestation.id.desc()).limit(limit)))


def first_founded() -> ScalarSelect[uuid.UUID]:
    """The organisation that speaks for the operator."""
    first = select(Organisation.id).order_by(Organisation.created_at, Organisation.id).limit(1)
    return first.scalar_subquery()


def may_attest(session: Session, member: Member) -> bool:
    """Whether a member speaks for the operator: an owner of the organisation founded first."""
    is_owner = member.role == Role.OWNER and member.status == Status.ACTIVE
    return is_owner and session.scalar(select(first_founded())) == member.organisation_id


def _attestation_sentence(asked: Terms, latest: "Attestation | None") -> str:
    if latest is None:
        told = (
            "The yearly statement that this studio may use models under the "
            f"{asked.name} has not been made yet."
        )
    elif latest.kind == "withdrawn":
        told = f"The statement about the {asked.name} was taken back: {latest.reference}"
    elif latest.statement_sha256 == asked.statement_sha256(latest.kind):
        told = (
            f"The yearly statement about the {asked.name} ran out on {latest.valid_until:%d %B %Y}."
        )
    else:
        told = f"The {asked.name} has changed since the operator's statement."
    return told


def _name(given: str) -> str:
    name = given.strip()
    if not name or len(name) > WORDS_MAX or not name.isprintable():
        raise Conflict("Write the name of the person who says so.")
    return name


def _words(given: str) -> str:
    words = " ".join(given.split())
    if len(words) > WORDS_MAX or not words.isprintable():
        raise Conflict(f"Write at most {WORDS_MAX} printable characters.")
    return words


def _sentence(given: str) -> str:
    words = _words(given)
    return words if words[-1] in ".!?" else f"{words}."


class Attestation(Base):
    """The operator stated, or took back, that the licence lets this studio run. Append-only."""

    __tablename__ = "attestation"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('below_threshold', 'enterprise_licence', 'demonstration', 'withdrawn')",
            name="kind",
        ),
        Index("ix_attestation_licence_id", "licence", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    kind: Mapped[str]
    licence: Mapped[str]
    licence_version: Mapped[str]
    statement_sha256: Mapped[str]
    reference: Mapped[str]
    given_by: Mapped[str]
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    given_at: Mapped[datetime]
    valid_until: Mapped[datetime]
