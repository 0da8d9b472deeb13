"""One case as the reviewer's desk reads it, with all that is known.

What is private is not read for the page before somebody has written down why they look: a prompt
that was let through stands in a case only while such a look is open. Reads only; who may see a case
is asked by `licensing.cases.access`.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from inference import holdback
from inference.generations import Picture
from inference.holdback import Found
from licensing import (
    abuse,
    adapters,
    appeals,
    cases,
    decisions,
    evidence,
    looks,
    reports,
    review_access,
    upload_verdicts,
)
from licensing.abuse import Strikes
from licensing.adapters import Adapter
from licensing.appeals import Appeal
from licensing.cases import ReviewCase
from licensing.decisions import Decision
from licensing.errors import AtelierError
from licensing.evidence import AdapterLock, Done, EvidenceLock
from licensing.looks import Look
from licensing.moderation import Verdict
from licensing.reports import Report
from licensing.seats import Member
from licensing.upload_verdicts import UploadVerdict


@dataclass(frozen=True)
class Told:
    """One line of a case's history."""

    at: datetime
    who: str
    what: str
    words: str = ""


@dataclass(frozen=True)
class Grid:
    """The pictures that a LoRA was judged by, as one; the shape that the desk draws."""

    width: int = 2
    height: int = 2
    refused: bool = True  # nobody but a reviewer sees it, whatever becomes of the LoRA


@dataclass(frozen=True)
class Detail:
    """One case as the reviewer reads it."""

    case: ReviewCase
    about: ReviewCase
    verdict: Verdict | None
    member: Member | None
    strikes: Strikes | None
    refusals: int
    report: Report | None
    upload: UploadVerdict | None
    appeal: Appeal | None
    decision: Decision | None
    history: list[Told]
    picture: Picture | Grid | None
    adapter: Adapter | None
    words: str | None
    is_narrowed: bool
    may_open: bool
    obstacle: str
    looks_open: frozenset[str]
    lock: EvidenceLock | AdapterLock | None
    steps: dict[str, Done]
    siblings: list[int]


def read_case(session: Session, reviewer: Member, case_id: int) -> Detail:
    """Read one case. Raises `NotFound`."""
    case = cases.access(session, reviewer.organisation_id, case_id)
    about = case
    if case.about_id is not None:
        about = cases.access(session, reviewer.organisation_id, case.about_id)
    verdict = session.get(Verdict, about.verdict_id) if about.verdict_id is not None else None
    member = None if case.member_id is None else session.get(Member, case.member_id)
    narrowed = cases.is_narrowed(session, case)
    may_open = not narrowed or review_access.has(session, reviewer)
    found = holdback.find_all(session, about.generation_id, about.picture_index)
    named = found[0] if found and about.picture_index is not None else None
    adapter = adapters.find(session, about.adapter_id)
    open_looks = frozenset(
        what
        for what in ("picture", "colour", "prompt")
        if may_open and looks.is_open(session, reviewer, case, what)
    )
    report = reports.of_case(session, about.id) if may_open else None
    words = None
    if is_public(about, verdict):
        words = verdict.excerpt if verdict is not None else None
    elif "prompt" in open_looks:
        words = verdict.excerpt if verdict else (found[0].generation.asked.prompt if found else "")
    return Detail(
        case=case,
        about=about,
        verdict=verdict,
        member=member,
        strikes=None if member is None else abuse.strikes(session, member.id),
        refusals=0 if member is None else _refusals(session, member.id),
        report=report,
        upload=upload_verdicts.of_report(session, report.id) if report is not None else None,
        appeal=appeals.answered_by(session, case.id) if may_open else None,
        decision=None if case.decision_id is None else session.get(Decision, case.decision_id),
        history=_history(session, case, about),
        picture=_seen(named, adapter),
        adapter=adapter,
        words=words,
        is_narrowed=narrowed,
        may_open=may_open,
        obstacle=_obstacle(session, reviewer, case),
        looks_open=open_looks,
        lock=evidence.lock_about(session, about),
        steps=evidence.steps_done(session, about.id) if narrowed else {},
        siblings=_siblings(session, case, about),
    )


def _seen(named: Found | None, adapter: Adapter | None) -> Picture | Grid | None:
    """What can be looked at: the picture as it was kept, or the grid of a LoRA that was drawn."""
    if adapter is not None:
        return Grid() if adapter.probed_at is not None else None
    return named.picture if named is not None and named.picture.key is not None else None


def is_public(about: ReviewCase, verdict: Verdict | None) -> bool:
    """Whether the words of a case are what was refused: those are read without a look."""
    if about.kind == "adapter":
        return True  # the name of a LoRA, which the whole team reads
    return about.kind == "prompt" and verdict is not None and verdict.action == "block"


def _refusals(session: Session, member_id: uuid.UUID) -> int:
    query = select(func.count()).where(Verdict.member_id == member_id, Verdict.action == "block")
    return session.scalars(query).one()


def _obstacle(session: Session, reviewer: Member, case: ReviewCase) -> str:
    """Why this reviewer may not decide the case; empty if they may."""
    try:
        decisions.require_may_decide(session, reviewer, case)
    except AtelierError as error:
        return error.message
    return ""


def _siblings(session: Session, case: ReviewCase, about: ReviewCase) -> list[int]:
    """Other open cases about the same picture or prompt, and the appeal against this one."""
    same = ReviewCase.about_id == case.id
    if about.generation_id is not None:
        same = or_(
            same,
            and_(
                ReviewCase.generation_id == about.generation_id,
                ReviewCase.picture_index.is_not_distinct_from(about.picture_index),
            ),
        )
    query = select(ReviewCase.id).where(
        same,
        ReviewCase.organisation_id == case.organisation_id,
        ReviewCase.id.not_in((case.id, about.id)),
        ReviewCase.outcome.is_(None),
    )
    return list(session.scalars(query.order_by(ReviewCase.id).limit(9)))


def _history(session: Session, case: ReviewCase, about: ReviewCase) -> list[Told]:
    """What people did with a case and what it is about, oldest first, by name."""
    ids = {case.id, about.id}
    told = []
    thing = "picture" if about.adapter_id is None else "LoRA"
    for look, who in session.execute(
        select(Look, Member.name)
        .join(Member, Member.id == Look.reviewer_id)
        .where(Look.case_id.in_(ids))
    ):
        seen = {"picture": "looked at the picture", "colour": "looked at it in colour"}
        told.append(Told(look.at, who, seen.get(look.what, "read the prompt"), look.reason))
    for made, who in session.execute(
        select(Decision, Member.name)
        .join(Member, Member.id == Decision.reviewer_id)
        .where(Decision.case_id.in_(ids))
    ):
        verb = "blocked" if made.action == "block" else "allowed"
        also = [
            words
            for is_so, words in (
                (made.reverses is not None, "reversing the decision before"),
                (made.effect == "withheld", f"the {thing} was taken back"),
                (made.effect == "released", f"the {thing} was released"),
                (made.blocks_hash, "its hash was blocked"),
                (made.suspends, "the member was suspended"),
            )
            if is_so
        ]
        note = f" ({made.note})" if made.note else ""
        what = ", ".join([f"{verb} case {made.case_id}", *also])
        told.append(Told(made.at, who, what, f"{made.reason}{note}"))
    return sorted(told, key=lambda one: one.at)
