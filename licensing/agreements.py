"""The texts that a member accepts before the first picture, and who accepted which when.

Owns the append-only table `acceptance`. The texts lie in `texts/`, one file a version. An
acceptance stores the version and the SHA-256 of the text that was shown, so that what somebody
agreed to can be proved. A new version, or a changed text, asks again.
"""

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources

from sqlalchemy import ForeignKey, Identity, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base
from licensing.errors import AtelierError

# Kind, version and title of what is in force; the file is texts/<kind>-<version>.md.
IN_FORCE = (
    ("licence", "1", "Krea 2 Community License: what it asks of you"),
    ("use-policy", "1", "Acceptable use"),
)


@dataclass(frozen=True)
class Agreement:
    """One text in one version; `text` is Markdown."""

    kind: str
    version: str
    title: str
    text: str

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


@cache
def current() -> tuple[Agreement, ...]:
    """Read the texts in force, in the order in which they are shown."""
    folder = resources.files("licensing").joinpath("texts")
    return tuple(
        Agreement(
            kind=kind,
            version=version,
            title=title,
            text=folder.joinpath(f"{kind}-{version}.md").read_text("utf-8"),
        )
        for kind, version, title in IN_FORCE
    )


def require_accepted(session: Session, member_id: uuid.UUID) -> None:
    """Raise `AgreementRequired` unless the member accepted every text in force."""
    still_missing = missing(session, member_id)
    if still_missing:
        raise AgreementRequired(still_missing)


def missing(session: Session, member_id: uuid.UUID) -> tuple[Agreement, ...]:
    """The texts in force that the member has not accepted word for word."""
    query = select(Acceptance.kind, Acceptance.version, Acceptance.text_sha256).where(
        Acceptance.member_id == member_id
    )
    accepted = {tuple(row) for row in session.execute(query)}
    return tuple(
        agreement
        for agreement in current()
        if (agreement.kind, agreement.version, agreement.text_sha256) not in accepted
    )


def accept(
    session: Session, member_id: uuid.UUID, agreements: Iterable[Agreement], at: datetime
) -> None:
    """Store that the member accepted these texts; again is harmless, the first time counts."""
    rows = [
        {
            "member_id": member_id,
            "kind": agreement.kind,
            "version": agreement.version,
            "text_sha256": agreement.text_sha256,
            "accepted_at": at,
        }
        for agreement in agreements
    ]
    if rows:
        session.execute(insert(Acceptance).values(rows).on_conflict_do_nothing())


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
