"""What people report: a colleague about a picture they see, or anybody by the take-down form.

Owns the append-only table `report`. A report opens a case with a clock. Of a file that somebody
brings its hashes are kept, enough to find the picture and to keep it from being made again, and
what the safety desk said of it (`licensing.upload_verdicts`); the file is not.
Nobody learns from the answer whether the picture is known here; the receipt is all that comes back.
"""

import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    UniqueConstraint,
    func,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import cases, upload_verdicts
from licensing.cases import MINORS, Subject
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict
from licensing.seats import Member, Organisation
from licensing.upload_verdicts import Judgement

STATEMENT_CHARACTERS_MIN, NAME_CHARACTERS_MIN = 10, 2
STATEMENT_CHARACTERS_MAX = 4000  # two pages
SHORT_CHARACTERS_MAX = 254  # a name, a mail address, and no novel
LINK_CHARACTERS_MAX = 2000  # what browsers and servers take
# By strangers, in all: more is a flood, and the desk that has to read them within two days drowns.
PUBLIC_IN_AN_HOUR_MAX = 100
OF_MEMBER_IN_A_DAY_MAX = 30
_RECEIPT_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that is read as something else
_ADDRESS = re.compile(r"[^\s@,;<>]+@[^\s@,;<>]+")
_RECEIPT_LETTERS = 12  # 58 bits: nobody guesses another's

# What can be reported, in words that everybody knows; the keys are categories of the use policy.
CATEGORIES = {
    "ncii": "An intimate or sexual picture of me or somebody else, shown without consent",
    "minors_sexual": "Sexual content with somebody under 18",
    "rights": "My likeness, work or brand, used without permission",
    "harassment": "Defamation, harassment or hate",
    "deception": "A forgery, or a picture made to deceive",
    "other": "Something else that is against the use policy or the law",
}


class InvalidReport(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The report lacks what is needed to act on it."""

    code = "invalid_report"
    status = 422


class TooManyReports(AtelierError):  # noqa: N818 - reads as the answer that it is
    """More reports came in than anybody can read."""

    code = "too_many_reports"
    status = 429


@dataclass(frozen=True)
class Target:
    """The picture that a report is about, where it is one of ours."""

    organisation_id: uuid.UUID
    picture_id: uuid.UUID
    subject: Subject


@dataclass(frozen=True)
class Complaint:
    """What somebody without an account says; `link` or `sha256` names the picture."""

    category: str
    statement: str
    name: str
    contact: str
    link: str = ""
    sha256: str | None = None
    pdq: bytes | None = None


def require_complete(complaint: Complaint) -> None:
    """Raise `InvalidReport` with a sentence for the first thing that is missing or too long."""
    if complaint.category not in CATEGORIES:
        raise InvalidReport("Choose what the report is about.")
    if not complaint.link and complaint.sha256 is None:
        raise InvalidReport("Give the address of the picture, or bring its file.")
    if len(complaint.link) > LINK_CHARACTERS_MAX:
        raise InvalidReport(f"The address may have {LINK_CHARACTERS_MAX:,} characters.")
    if not STATEMENT_CHARACTERS_MIN <= len(complaint.statement) <= STATEMENT_CHARACTERS_MAX:
        raise InvalidReport(
            f"Say what is wrong with the picture, in {STATEMENT_CHARACTERS_MIN} to "
            f"{STATEMENT_CHARACTERS_MAX:,} characters."
        )
    if not NAME_CHARACTERS_MIN <= len(complaint.name) <= SHORT_CHARACTERS_MAX:
        raise InvalidReport("Give your name; it stands for your signature.")
    if len(complaint.contact) > SHORT_CHARACTERS_MAX or not _ADDRESS.fullmatch(complaint.contact):
        raise InvalidReport("Give an e-mail address at which you can be asked.")


def addressee(session: Session, target: Target | None) -> uuid.UUID:
    """Return whose reviewers decide: who was here first, the operator, if it is no picture of ours.

    Raises `Conflict` where there is no organisation at all.
    """
    if target is not None:
        return target.organisation_id
    query = select(Organisation.id).order_by(Organisation.created_at, Organisation.id)
    found = session.scalar(query.limit(1))
    if found is None:
        raise Conflict("This studio has nobody yet who could look at a report.")
    return found


def file_public(
    session: Session,
    complaint: Complaint,
    target: Target | None,
    judgement: Judgement | None = None,
) -> "Report":
    """Open the case of a take-down request, with 48 hours on its clock.

    `judgement` is what the desk says of the file that came with it. If that names minors, so does
    the case, whatever the complaint names: it is more urgent, and few may open it.
    Raises `InvalidReport`, `TooManyReports`, and as `addressee` does.
    """
    require_complete(complaint)
    hour_ago = now() - timedelta(hours=1)
    recent = select(func.count()).where(Report.source == "public", Report.at > hour_ago)
    if session.scalars(recent).one() >= PUBLIC_IN_AN_HOUR_MAX:
        raise TooManyReports("Too many reports came in within this hour. Try again in the next.")
    organisation_id = addressee(session, target)
    found = judgement.category if judgement is not None else None
    case = cases.open_case(
        session,
        organisation_id,
        "take_down",
        category=found if found in MINORS else complaint.category,
        subject=target.subject if target else Subject(),
    )
    report = _write(
        session,
        organisation_id=organisation_id,
        case_id=case.id,
        source="public",
        reporter_id=None,
        category=complaint.category,
        statement=complaint.statement,
        name=complaint.name,
        contact=complaint.contact,
        link=complaint.link,
        sha256=complaint.sha256,
        pdq=complaint.pdq,
        picture_id=target.picture_id if target else None,
    )
    if judgement is not None:
        upload_verdicts.record(
            session, judgement, organisation_id=organisation_id, report_id=report.id
        )
    return report


def file_by_member(
    session: Session, reporter: Member, target: Target, *, category: str, statement: str
) -> "Report":
    """Open the case of a picture that a member sees and reports; the caller made sure they see it.

    Raises `InvalidReport`, `Conflict` if they reported it already, `TooManyReports`.
    """
    said = statement.strip().replace("\0", "")
    if category not in CATEGORIES or len(said) > STATEMENT_CHARACTERS_MAX:
        raise InvalidReport("Choose what the report is about, and say it in fewer words.")
    own = select(func.count()).where(Report.reporter_id == reporter.id)
    if session.scalars(own.where(Report.picture_id == target.picture_id)).one():
        raise Conflict("You have reported this picture already. A reviewer looks at it.")
    if session.scalars(own.where(Report.at > now() - timedelta(days=1))).one() >= (
        OF_MEMBER_IN_A_DAY_MAX
    ):
        raise TooManyReports(f"{OF_MEMBER_IN_A_DAY_MAX} reports in a day is the limit.")
    case = cases.open_case(
        session, target.organisation_id, "report", category=category, subject=target.subject
    )
    return _write(
        session,
        organisation_id=target.organisation_id,
        case_id=case.id,
        source="member",
        reporter_id=reporter.id,
        category=category,
        statement=said,
        name="",
        contact="",
        link="",
        sha256=None,
        pdq=None,
        picture_id=target.picture_id,
    )


def of_case(session: Session, case_id: int) -> "Report | None":
    """The report that opened a case."""
    return session.scalars(select(Report).where(Report.case_id == case_id)).one_or_none()


def _write(session: Session, **values: object) -> "Report":
    letters = [secrets.choice(_RECEIPT_ALPHABET) for _ in range(_RECEIPT_LETTERS)]
    receipt = "-".join("".join(letters[start : start + 4]) for start in (0, 4, 8))
    report = Report(receipt=receipt, at=now(), **values)
    session.add(report)
    session.flush()
    return report


class Report(Base):
    """One report. `reporter_id` is None for somebody without an account."""

    __tablename__ = "report"
    __table_args__ = (
        CheckConstraint("source IN ('member', 'public')", name="source"),
        CheckConstraint("(source = 'member') = (reporter_id IS NOT NULL)", name="reporter"),
        CheckConstraint("octet_length(pdq) = 32", name="pdq"),
        UniqueConstraint("case_id"),
        UniqueConstraint("receipt"),
        Index("ix_report_organisation_id_at", "organisation_id", "at"),
        Index("ix_report_at", "at"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    source: Mapped[str]
    receipt: Mapped[str]
    reporter_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    category: Mapped[str]
    statement: Mapped[str]
    name: Mapped[str]
    contact: Mapped[str]
    link: Mapped[str]
    sha256: Mapped[str | None]
    pdq: Mapped[bytes | None] = mapped_column(LargeBinary)
    picture_id: Mapped[uuid.UUID | None]
    at: Mapped[datetime]
