"""The reviewer's desk: what waits for a judgement, one case at a time, and the month in numbers.

Pictures and private prompts are `review_looks`'s, the numbers `review_numbers`'s. Mounted by
`webapp.app`; each route asks who is there, and what they may open.
"""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Form, Query
from starlette.responses import HTMLResponse

from licensing import policy_words
from licensing.cases import Outcome
from licensing.decisions import Order
from licensing.seats import Member, Page
from webapp import review_letters, reviewing
from webapp.studio import Studio
from webapp.ui import desk, review_looks, review_numbers, review_view
from webapp.ui.case_queue import Choice
from webapp.ui.cases import read_case
from webapp.ui.review_view import ID_MAX, choice, number

Text = Annotated[str, Form()]


def mount(app: FastAPI, studio: Studio) -> None:
    """Put the page and its routes at /review."""
    desk.mount(
        app,
        studio,
        Page.REVIEW,
        routes(studio),
        title="Review",
        scripts=("review.js",),
        styles=("review.css",),
    )


def routes(studio: Studio) -> APIRouter:
    """Return the routes below /review; each authorises itself."""
    router = APIRouter(prefix="/review")
    Reviewer = Annotated[Member, Depends(desk.reader(studio, Page.REVIEW))]  # noqa: N806 - a type
    Filters = Annotated[Choice, Depends(choice)]  # noqa: N806 - as above

    @router.get("/view", response_class=HTMLResponse)
    def view(
        reviewer: Reviewer,
        chosen: Filters,
        case: Annotated[int | None, Query(ge=0, le=ID_MAX)] = None,
        view: str = "queue",
        month: Annotated[str, Query(max_length=7)] = "",
    ) -> HTMLResponse:
        if view == "numbers":
            return review_numbers.draw(studio, reviewer, month)
        if view == "access":
            return review_view.draw_access(studio, reviewer)
        return review_view.draw(studio, reviewer, chosen, case)

    router.include_router(_decisions(studio))
    router.include_router(review_looks.routes(studio))
    router.include_router(review_numbers.routes(studio))
    router.include_router(review_view.access_routes(studio))
    return router


def _decisions(studio: Studio) -> APIRouter:
    """Return the routes by which a case is decided; each authorises itself."""
    router = APIRouter()
    Reviewer = Annotated[Member, Depends(desk.reader(studio, Page.REVIEW))]  # noqa: N806 - a type
    Filters = Annotated[Choice, Depends(choice)]  # noqa: N806 - as above

    @router.get("/cases/{case_id}/decide", response_class=HTMLResponse)
    def decide_sheet(
        reviewer: Reviewer,
        case_id: str,
        action: Outcome = "block",
        also: str = "",
    ) -> HTMLResponse:
        with studio.database.read() as session:
            detail = read_case(session, reviewer, number(case_id))
        return desk.fragment(
            "review_decide.html",
            detail=detail,
            action=action,
            also=also,
            policy=policy_words,
        )

    @router.post("/cases/{case_id}/decide", response_class=HTMLResponse)
    def decide(
        reviewer: Reviewer,
        chosen: Filters,
        behind: BackgroundTasks,
        case_id: str,
        *,
        action: Annotated[Outcome, Form()] = "block",
        category: Text = "",
        reason: Text = "",
        note: Text = "",
        seen: Text = "",
        blocks_hash: Annotated[bool, Form()] = False,
        suspends: Annotated[bool, Form()] = False,
    ) -> HTMLResponse:
        order = Order(
            action=action,
            category=category if category in policy_words.categories() else None,
            reason=reason,
            note=note,
            blocks_hash=blocks_hash,
            suspends=suspends,
            seen=number(seen) if seen else None,
        )
        done = reviewing.decide(studio, reviewer, number(case_id), order)
        behind.add_task(review_letters.send, studio, done.letters)
        drawn = review_view.draw(
            studio, reviewer, chosen, None, after=number(case_id), news=done.sentence
        )
        drawn.background = behind
        return drawn

    @router.post("/cases/{case_id}/steps/{step}", response_class=HTMLResponse)
    def tick(
        reviewer: Reviewer, chosen: Filters, case_id: str, step: str, note: Text = ""
    ) -> HTMLResponse:
        reviewing.tick(studio, reviewer, number(case_id), step, note)
        return review_view.draw(studio, reviewer, chosen, number(case_id), news="Ticked.")

    return router
