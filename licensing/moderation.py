"""What may be asked for, and the record of every answer.

Owns the append-only table `verdict`. `check_prompt` is pure: the words are normalised
(`prompt_words`) and held against reviewed rules (`prompt_rules`, data in `texts/policy/`). It is
the first of three sieves; a learned classifier of prompts and one of pictures follow in
`inference.safety`. A verdict is recorded for whatever was not simply allowed, and for every
picture.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, Double, ForeignKey, Identity, Index, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import abuse, cases, evidence, prompt_rules
from licensing.db import Base, now
from licensing.errors import AtelierError

Action = Literal["allow", "review", "block"]
Subject = Literal["prompt", "image", "adapter"]  # the last: a LoRA, by the pictures of its check

EXCERPT_CHARACTERS_MAX = 500  # enough for a reviewer to judge; the request holds the whole prompt


@dataclass(frozen=True)
class PromptVerdict:
    """What the policy says to a prompt.

    `allow`: go on; with a category, that is noted. `review`: go on, and a reviewer looks at it.
    `block`: nothing runs, nothing is charged. `category` and `rule` name why; `message` is the
    sentence for the person.
    """

    action: Action
    category: str | None = None
    rule: str | None = None
    message: str = ""


class PromptRefused(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The use policy does not allow this prompt; nothing was made and nothing charged."""

    code = "prompt_refused"
    status = 422

    def __init__(self, verdict: PromptVerdict) -> None:
        """Repeat the verdict's sentence and keep its category."""
        self.category = verdict.category
        super().__init__(verdict.message)


def check_prompt(
    prompt: str, tightened: Mapping[str, prompt_rules.Action] | None = None
) -> PromptVerdict:
    """Hold a prompt against the rules; the strictest rule that applies decides. Pure.

    `tightened` holds what an organisation made stricter (`licensing.policy`), by category.
    """
    judged = prompt_rules.judge(prompt, tightened or {})
    if judged is None:
        return PromptVerdict("allow")
    rule, action = judged
    return PromptVerdict(
        action="allow" if action == "label" else action,
        category=rule.category,
        rule=rule.id,
        message=prompt_rules.load().messages[rule.category] if action == "block" else "",
    )


def record(
    session: Session,
    *,
    organisation_id: uuid.UUID,
    member_id: uuid.UUID,
    generation_id: uuid.UUID | None,
    picture_index: int | None = None,
    adapter_id: uuid.UUID | None = None,
    subject: Subject,
    action: Action,
    category: str | None,
    score: float | None = None,
    source: str,
    excerpt: str,
) -> "Verdict":
    """Append a verdict.

    `source` names who judged (for example `rules:minors-sexual`, or a classifier and its version),
    `score` is 0 to 1 where a classifier judged, and `excerpt` is cut to 500 characters. What was
    not simply allowed opens a case for the reviewers; a refusal counts against the member
    (`licensing.abuse`), and a refused picture with minors in it is locked as evidence.
    """
    if action == "block":
        abuse.begin(session, member_id)
    verdict = Verdict(
        organisation_id=organisation_id,
        member_id=member_id,
        generation_id=generation_id,
        picture_index=picture_index,
        subject=subject,
        action=action,
        category=category,
        score=score,
        source=source,
        excerpt=excerpt.replace("\0", "")[:EXCERPT_CHARACTERS_MAX],
        at=now(),
    )
    session.add(verdict)
    session.flush()
    if action != "allow":
        _open_case(session, verdict, adapter_id)
    return verdict


_CASES: dict[str, cases.Kind] = {"prompt": "prompt", "image": "picture", "adapter": "adapter"}


def _open_case(session: Session, verdict: "Verdict", adapter_id: uuid.UUID | None) -> None:
    case = cases.open_case(
        session,
        verdict.organisation_id,
        _CASES[verdict.subject],
        category=verdict.category,
        subject=cases.Subject(
            verdict.member_id, verdict.generation_id, verdict.picture_index, adapter_id
        ),
        verdict_id=verdict.id,
        was_delivered=verdict.action == "review",
    )
    if verdict.action == "block":
        if cases.is_narrowed(session, case):
            evidence.lock(session, case)
        abuse.notice(session, verdict.organisation_id, verdict.member_id)


def refused(
    session: Session, organisation_id: uuid.UUID, *, limit: int, before_id: int | None = None
) -> list["Verdict"]:
    """What was blocked or is to be looked at, newest first."""
    query = select(Verdict).where(
        Verdict.organisation_id == organisation_id, Verdict.action != "allow"
    )
    if before_id is not None:
        query = query.where(Verdict.id < before_id)
    return list(session.scalars(query.order_by(Verdict.id.desc()).limit(limit)))


class Verdict(Base):
    """One judgement on a prompt or a picture. Append-only; a change of mind is a new row."""

    __tablename__ = "verdict"
    __table_args__ = (
        CheckConstraint("subject IN ('prompt', 'image', 'adapter')", name="subject"),
        CheckConstraint("action IN ('allow', 'review', 'block')", name="action"),
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        Index(
            "ix_verdict_organisation_id_id",
            "organisation_id",
            "id",
            postgresql_where=text("action <> 'allow'"),
        ),
        Index("ix_verdict_generation_id", "generation_id"),
        Index("ix_verdict_strikes", "member_id", "at", postgresql_where=text("action = 'block'")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    generation_id: Mapped[uuid.UUID | None]
    picture_index: Mapped[int | None]
    subject: Mapped[str]
    action: Mapped[str]
    category: Mapped[str | None]
    score: Mapped[float | None] = mapped_column(Double)
    source: Mapped[str]
    excerpt: Mapped[str]
    at: Mapped[datetime]
