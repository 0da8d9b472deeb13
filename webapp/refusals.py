"""The page /refusals: what was refused to a member and why, their one appeal, and its answer.

Nothing is here of what others reported or which reviewer decided. Works without a script.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Form, Query
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from licensing import appeals, policy_words
from licensing.appeals import Appeal
from licensing.cases import ReviewCase
from licensing.db import now
from licensing.decisions import Decision
from licensing.errors import AtelierError, NotFound
from licensing.moderation import Verdict
from licensing.seats import Member
from webapp import identity, review_letters
from webapp.pages import page
from webapp.studio import Studio

ON_PAGE = 30  # a month of somebody who is refused often
PART_MAX = 1000
EXCERPT_CHARACTERS_MAX = 200
ID_MAX = 2**63 - 1

Text = Annotated[str, Form()]


@dataclass(frozen=True)
class Refusal:
    """One refusal as its maker reads it."""

    id: int
    kind: str
    excerpt: str
    category: str
    sentence: str
    at: datetime
    state: str
    answer: str
    appeal: Appeal | None
    until: datetime
    can_appeal: bool


def routes(studio: Studio) -> APIRouter:
    """Return the routes at /refusals; each authorises itself."""
    router = APIRouter()

    @router.get("/refusals")
    def own(request: Request, part: Annotated[int, Query(ge=1, le=PART_MAX)] = 1) -> Response:
        return _page(studio, identity.require_member(studio, request), part=part)

    @router.post("/refusals/{case_id}/appeal")
    def appeal(
        request: Request, behind: BackgroundTasks, case_id: str, words: Text = ""
    ) -> Response:
        member = identity.require_member(studio, request)
        if not (case_id.isascii() and case_id.isdigit()) or int(case_id) > ID_MAX:
            raise NotFound("There is no such refusal.")
        try:
            with studio.database.transaction() as session:
                appeals.file(session, member, int(case_id), words=words)
        except NotFound:
            raise
        except AtelierError as error:
            return _page(studio, member, problem=(int(case_id), error), words=words)
        letter = review_letters.appeal_received(studio.settings, member)
        behind.add_task(review_letters.send, studio, (letter,))
        return RedirectResponse(f"/refusals#case-{case_id}", 303, background=behind)

    return router


def refusals(session: Session, member: Member, *, part: int) -> list[Refusal]:
    """Read a part of what was refused to a member, newest first, and one more."""
    answer_case, answer = aliased(ReviewCase), aliased(Decision)
    query = (
        select(ReviewCase, Verdict, Decision, Appeal, answer)
        .outerjoin(Verdict, Verdict.id == ReviewCase.verdict_id)
        .outerjoin(Decision, Decision.id == ReviewCase.decision_id)
        .outerjoin(Appeal, Appeal.case_id == ReviewCase.id)
        .outerjoin(answer_case, answer_case.id == Appeal.answer_case_id)
        .outerjoin(answer, answer.id == answer_case.decision_id)
        .where(appeals.is_refusal_of(member.id))
        .order_by(ReviewCase.id.desc())
        .limit(ON_PAGE + 1)
        .offset((part - 1) * ON_PAGE)
    )
    return [_refusal(*row) for row in session.execute(query)]


def _refusal(
    case: ReviewCase,
    verdict: Verdict | None,
    decision: Decision | None,
    appeal: Appeal | None,
    answer: Decision | None,
) -> Refusal:
    told = answer or decision
    return Refusal(
        id=case.id,
        kind=case.kind,
        excerpt=(verdict.excerpt if verdict else "")[:EXCERPT_CHARACTERS_MAX],
        category=policy_words.name(case.category),
        sentence=_sentence(case),
        at=case.opened_at,
        state=_state(case, appeal, answer),
        answer=told.reason if told else "",
        appeal=appeal,
        until=appeals.until(case),
        can_appeal=appeal is None and case.outcome != "allow" and now() <= appeals.until(case),
    )


def _sentence(case: ReviewCase) -> str:
    if case.kind == "abuse":
        return (
            "So many of your prompts or pictures were refused that a reviewer has to look before "
            "you can generate again."
        )
    if case.adapter_id is not None:
        return "Pictures that a LoRA of yours draws are not allowed, so nobody can use it."
    if case.picture_index is not None:
        return policy_words.picture_sentence(case.category)
    return policy_words.sentence(case.category)


def _state(case: ReviewCase, appeal: Appeal | None, answer: Decision | None) -> str:
    if case.outcome == "allow":
        return "allowed"
    if appeal is not None:
        return "appealed" if answer is None else "denied"
    return "refused"


def _page(
    studio: Studio,
    member: Member,
    *,
    part: int = 1,
    problem: tuple[int, AtelierError] | None = None,
    words: str = "",
) -> Response:
    with studio.database.read() as session:
        found = refusals(session, member, part=part)
    return page(
        "refusals.html",
        status=200 if problem is None else problem[1].status,
        refusals=found[:ON_PAGE],
        has_more=len(found) > ON_PAGE,
        part=part,
        problem_at=problem[0] if problem else None,
        problem=problem[1].message if problem else "",
        words=words,
        words_max=appeals.WORDS_CHARACTERS_MAX,
        home=identity.home(member),
    )
