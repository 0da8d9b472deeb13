"""A month of moderation in numbers, as a view of the reviewer's desk and as a CSV file."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import HTMLResponse, Response

from licensing import policy_words, transparency
from licensing.db import now
from licensing.seats import Member, Page
from webapp.studio import Studio
from webapp.ui import desk


def routes(studio: Studio) -> APIRouter:
    """Return the file's route; it authorises itself."""
    router = APIRouter()
    Reviewer = Annotated[Member, Depends(desk.reader(studio, Page.REVIEW))]  # noqa: N806 - a type

    @router.get("/transparency.csv")
    def file(reviewer: Reviewer, month: Annotated[str, Query(max_length=7)] = "") -> Response:
        chosen = transparency.month(month or f"{now():%Y-%m}")
        with studio.database.read() as session:
            found = transparency.read(session, chosen, reviewer.organisation_id)
        name = f"atelier-transparency-{chosen.name}.csv"
        return Response(
            transparency.as_csv(found),
            media_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )

    return router


def draw(studio: Studio, reviewer: Member, words: str) -> HTMLResponse:
    """Draw one month. Raises `InvalidMonth`."""
    moment = now()
    chosen = transparency.month(words or f"{moment:%Y-%m}")
    with studio.database.read() as session:
        found = transparency.read(session, chosen, reviewer.organisation_id)
        months = transparency.months(session, reviewer.organisation_id, moment)
    return desk.fragment(
        "review_numbers.html",
        found=found,
        chosen=chosen,
        months=months,
        is_over=chosen.is_over(moment),
        name=policy_words.name,
    )
