"""The two tables of a team's LoRAs: how each one stands, and everything that was done to it."""

import uuid
from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now

State = Literal["checking", "ready", "review", "refused", "removed"]
Kind = Literal[
    "brought",
    "renamed",
    "ready",
    "review",
    "refused",
    "removed",
    "brought_again",
    "withdrawn",
    "opened_to_all",
    "kept_to_admins",
]


class Adapter(Base):
    """One LoRA of an organisation; the same file is the same LoRA for as long as there is a row.

    `judgement` is what the desk said last, None until it spoke. It outlives a removal.
    """

    __tablename__ = "adapter"
    __table_args__ = (
        UniqueConstraint("organisation_id", "sha256"),
        CheckConstraint("judgement IN ('ready', 'review', 'refused')", name="judgement"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 80", name="name"),
        CheckConstraint("bytes > 0 AND layers > 0", name="sizes"),
        Index("ix_adapter_sha256", "sha256"),
        Index(
            "ix_adapter_checking",
            "sent_at",
            postgresql_where=text("judgement IS NULL AND removed_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    uploader_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    name: Mapped[str]
    triggers: Mapped[str]  # words that its maker says to put into a prompt
    family: Mapped[str]  # of base models: trained on the Raw one, it runs on Raw and Turbo
    sha256: Mapped[str]
    bytes: Mapped[int]
    layout: Mapped[str]
    layers: Mapped[int]
    rank: Mapped[int | None]
    judgement: Mapped[str | None]
    reason: Mapped[str | None]  # a sentence for the team
    category: Mapped[str | None]
    grid: Mapped[str | None]  # which grid it was judged by
    probed_at: Mapped[datetime | None]
    verdict_id: Mapped[int | None] = mapped_column(ForeignKey("verdict.id"))
    attempts: Mapped[int] = mapped_column(default=0)  # at the check
    worker: Mapped[str | None]  # that checks it now
    sent_at: Mapped[datetime]  # when the broker last got its number, or a worker took it
    problem: Mapped[str | None]  # why the check waits
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]

    @property
    def state(self) -> State:
        """How it stands, in one word."""
        if self.removed_at is not None:
            return "removed"
        states: dict[str | None, State] = {
            "ready": "ready",
            "review": "review",
            "refused": "refused",
        }
        return states.get(self.judgement, "checking")


class AdapterChange(Base):
    """One thing that was done to a LoRA, or to who may bring one. Append-only.

    `member_id` is None for what the desk did by itself.
    """

    __tablename__ = "adapter_change"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('brought', 'renamed', 'ready', 'review', 'refused', 'removed',"
            " 'brought_again', 'withdrawn', 'opened_to_all', 'kept_to_admins')",
            name="kind",
        ),
        Index("ix_adapter_change_organisation_id_kind", "organisation_id", "kind", "id"),
        Index("ix_adapter_change_adapter_id", "adapter_id", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    adapter_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("adapter.id"))
    member_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    kind: Mapped[str]
    sha256: Mapped[str | None]
    category: Mapped[str | None]
    grid: Mapped[str | None]
    verdict_id: Mapped[int | None]
    decision_of_case: Mapped[int | None]  # the case by which a person decided
    detail: Mapped[str]
    at: Mapped[datetime]


def note(
    session: Session,
    adapter: Adapter,
    kind: Kind,
    *,
    member_id: uuid.UUID | None = None,
    case_id: int | None = None,
    detail: str = "",
) -> None:
    """Append what was done to a LoRA, as it stands after it."""
    session.add(
        AdapterChange(
            organisation_id=adapter.organisation_id,
            adapter_id=adapter.id,
            member_id=member_id,
            kind=kind,
            sha256=adapter.sha256,
            category=adapter.category,
            grid=adapter.grid,
            verdict_id=adapter.verdict_id,
            decision_of_case=case_id,
            detail=detail,
            at=now(),
        )
    )
    session.flush()
