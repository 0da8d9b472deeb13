"""Drawing the reviewer's desk: the queue beside one case, and who may open locked evidence."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query
from starlette.responses import HTMLResponse

from licensing import evidence, policy_words, review_access
from licensing.cases import Kind
from licensing.decisions import NOTE_CHARACTERS_MAX, REASON_CHARACTERS_MAX
from licensing.errors import NotFound
from licensing.seats import Member, Page, Role
from webapp.studio import Studio
from webapp.ui import case_queue, cases, desk
from webapp.ui.case_queue import KINDS, PART_MAX, Choice, Queue

CATEGORY_CHARACTERS_MAX = 64
ID_MAX = 2**63 - 1  # what the database counts to

SINGULAR = {
    "take_down": "Take-down",
    "report": "Report",
    "appeal": "Appeal",
    "abuse": "Alarm",
    "picture": "Picture",
    "prompt": "Prompt",
    "adapter": "LoRA",
}


def choice(
    kind: Kind | None = None,
    category: Annotated[str | None, Query(max_length=CATEGORY_CHARACTERS_MAX)] = None,
    *,
    closed: bool = False,
    part: Annotated[int, Query(ge=1, le=PART_MAX)] = 1,
) -> Choice:
    """Read the filters of the page's address."""
    return Choice(kind=kind, category=category or None, closed=closed, part=part)


def number(words: str) -> int:
    """Read a case's number from an address. Raises `NotFound` for what cannot be one."""
    if not (words.isascii() and words.isdigit()) or int(words) > ID_MAX:
        raise NotFound("There is no such case.")
    return int(words)


def draw(
    studio: Studio,
    reviewer: Member,
    choice: Choice,
    case_id: int | None,
    *,
    after: int | None = None,
    news: str = "",
) -> HTMLResponse:
    """Draw the queue and a case: the one asked for, else the first of the queue.

    `after` names a case that was just decided: the next open one follows it. Raises `NotFound`.
    """
    with studio.database.read() as session:
        queue = case_queue.read_queue(session, reviewer, choice)
        may_open_all = review_access.has(session, reviewer)
        chosen = case_id if case_id is not None else _first(queue, after, may_open_all=may_open_all)
        detail = None if chosen is None else cases.read_case(session, reviewer, chosen)
    ids = [row.case.id for row in queue.rows]
    here = ids.index(chosen) if chosen in ids else -1
    return desk.fragment(
        "review.html",
        queue=queue,
        choice=choice,
        detail=detail,
        asked_for=case_id is not None,
        previous=ids[here - 1] if here > 0 else None,
        next=ids[here + 1] if 0 <= here < len(ids) - 1 else None,
        news=news,
        kinds=KINDS,
        singular=SINGULAR,
        name=policy_words.name,
        sentence=policy_words.sentence,
        clock=case_queue.clock,
        all_steps=evidence.STEPS,
        hotline=studio.settings.hotline,
        reason_max=REASON_CHARACTERS_MAX,
        note_max=NOTE_CHARACTERS_MAX,
    )


def draw_access(studio: Studio, reviewer: Member, news: str = "") -> HTMLResponse:
    """Draw who may open locked evidence."""
    with studio.database.read() as session:
        reviewers = review_access.reviewers(session, reviewer.organisation_id)
    return desk.fragment(
        "review_access.html",
        reviewers=reviewers,
        reader=reviewer,
        is_owner=reviewer.role == Role.OWNER,
        news=news,
    )


def access_routes(studio: Studio) -> APIRouter:
    """Return the route by which an owner gives and takes the access; it authorises itself."""
    router = APIRouter(prefix="/access", default_response_class=HTMLResponse)
    Reviewer = Annotated[Member, Depends(desk.reader(studio, Page.REVIEW))]  # noqa: N806 - a type

    @router.post("/{member_id}")
    def change(
        reviewer: Reviewer,
        member_id: str,
        reason: Annotated[str, Form()] = "",
        *,
        is_given: Annotated[bool, Form()] = False,
    ) -> HTMLResponse:
        wanted = _member_id(member_id)
        with studio.database.transaction() as session:
            known = [
                one.id for one, _ in review_access.reviewers(session, reviewer.organisation_id)
            ]
            if wanted not in known:
                raise NotFound("There is no such reviewer.")
            member = review_access.change(
                session, reviewer, wanted, is_given=is_given, reason=reason
            )
        verb = "may open locked evidence from now on" if is_given else "may open it no more"
        return draw_access(studio, reviewer, f"{member.name} {verb}.")

    return router


def _member_id(words: str) -> uuid.UUID:
    try:
        return uuid.UUID(words)
    except ValueError as error:
        raise NotFound("There is no such reviewer.") from error


def _first(queue: Queue, after: int | None, *, may_open_all: bool) -> int | None:
    """The first case that the reviewer can open and that is not the one that was just decided."""
    left = [row for row in queue.rows if row.case.id != after]
    open_to_them = [row for row in left if may_open_all or not row.is_narrowed]
    return next((row.case.id for row in open_to_them or left), None)
