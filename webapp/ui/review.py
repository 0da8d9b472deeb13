"""The review page: what the filters refused, for the people who judge the filters.

Pictures arrive blurred and are shown one by one, when asked for. They have no other address than
the one below their verdict, and only reviewers and owners of the same organisation open it. Mounted
by `webapp.app`; each handler asks who is there.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query
from starlette.responses import FileResponse, HTMLResponse

from licensing.errors import NotFound
from licensing.moderation import Subject
from licensing.seats import Member, Page
from webapp.studio import Studio
from webapp.ui import cases, desk
from webapp.ui.cases import Choice

CATEGORY_CHARACTERS_MAX = 64
ID_MAX = 2**63 - 1  # what the database counts to


def mount(app: FastAPI, studio: Studio) -> None:
    """Put the page and its routes at /review."""
    desk.mount(app, studio, Page.REVIEW, routes(studio), title="Review")


def routes(studio: Studio) -> APIRouter:
    """Return the routes below /review; each authorises itself."""
    router = APIRouter(prefix="/review")
    Reviewer = Annotated[Member, Depends(desk.reader(studio, Page.REVIEW))]  # noqa: N806 - a type

    @router.get("/view", response_class=HTMLResponse)
    def view(
        reviewer: Reviewer,
        subject: Subject | None = None,
        category: Annotated[str | None, Query(max_length=CATEGORY_CHARACTERS_MAX)] = None,
        before: Annotated[int | None, Query(ge=0, le=ID_MAX)] = None,
    ) -> HTMLResponse:
        choice = Choice(subject=subject, category=category or None)
        with studio.database.read() as session:
            found = cases.read_cases(session, reviewer.organisation_id, choice, before_id=before)
        return desk.fragment(
            "review.html",
            found=found,
            choice=choice,
            is_older=before is not None,
            category_name=cases.category_name,
        )

    @router.get("/media/{verdict_id}", response_class=FileResponse)
    def original(reviewer: Reviewer, verdict_id: str) -> FileResponse:
        return _serve(studio, reviewer, verdict_id, is_thumbnail=False)

    @router.get("/media/{verdict_id}/thumbnail", response_class=FileResponse)
    def thumbnail(reviewer: Reviewer, verdict_id: str) -> FileResponse:
        return _serve(studio, reviewer, verdict_id, is_thumbnail=True)

    return router


def _serve(
    studio: Studio, reviewer: Member, verdict_id: str, *, is_thumbnail: bool
) -> FileResponse:
    if not (verdict_id.isascii() and verdict_id.isdigit()) or int(verdict_id) > ID_MAX:
        raise NotFound("There is no such picture.")
    with studio.database.read() as session:
        picture = cases.access_picture(session, reviewer, int(verdict_id))
    key = picture.thumbnail_key if is_thumbnail else picture.key
    path = studio.storage.path(key) if key else None
    if path is None or not path.is_file():
        raise NotFound("There is no such picture.")
    return FileResponse(
        path,
        media_type="image/webp" if path.suffix == ".webp" else "image/png",
        headers={"Cache-Control": "no-store"},  # not even the reviewer's own browser keeps it
    )
