"""What a reviewer sees of private work: specks, and after a reason was written down, the picture.

Nothing private reaches the browser unasked. A picture is first a few grey specks that this server
made of it; the picture itself, like a prompt that was let through, comes while a look is open.
Locked evidence has no specks, and loses its colours unless those were asked for too.
"""

import io
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from PIL import Image
from starlette.responses import FileResponse, HTMLResponse, Response

from licensing import cases, looks
from licensing.errors import NotFound
from licensing.looks import What
from licensing.seats import Member, Page
from webapp import reviewing
from webapp.studio import Studio
from webapp.ui import desk, review_view
from webapp.ui.case_queue import Choice
from webapp.ui.cases import read_case
from webapp.ui.review_view import choice, number

VEIL_PIXELS = 12  # of its longer side: a mood, and nobody's face
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp"}
UNKEPT = {"Cache-Control": "no-store"}  # not even the reviewer's own browser keeps it

Text = Annotated[str, Form()]


def routes(studio: Studio) -> APIRouter:
    """Return the routes by which something private is opened; each authorises itself."""
    router = APIRouter()
    Reviewer = Annotated[Member, Depends(desk.reader(studio, Page.REVIEW))]  # noqa: N806 - a type
    Filters = Annotated[Choice, Depends(choice)]  # noqa: N806 - as above

    @router.get("/cases/{case_id}/look", response_class=HTMLResponse)
    def look_sheet(reviewer: Reviewer, case_id: str, what: What = "picture") -> HTMLResponse:
        with studio.database.read() as session:
            detail = read_case(session, reviewer, number(case_id))
        return desk.fragment("review_look.html", detail=detail, what=what, reasons=looks.REASONS)

    @router.post("/cases/{case_id}/look", response_class=HTMLResponse)
    def look(
        reviewer: Reviewer,
        chosen: Filters,
        case_id: str,
        *,
        what: Annotated[What, Form()] = "picture",
        reason: Text = "",
        other: Text = "",
    ) -> HTMLResponse:
        reviewing.look(studio, reviewer, number(case_id), what, other.strip() or reason)
        return review_view.draw(studio, reviewer, chosen, number(case_id))

    @router.get("/cases/{case_id}/veil")
    def veil(reviewer: Reviewer, case_id: str) -> Response:
        with studio.database.read() as session:
            case, found = reviewing.exhibit(studio, session, reviewer, number(case_id))
            if cases.is_narrowed(session, case):
                raise NotFound("There is no such picture.")
        return _veil(found.small)

    @router.get("/cases/{case_id}/picture")
    def picture(reviewer: Reviewer, case_id: str, *, colour: bool = False) -> Response:
        with studio.database.read() as session:
            case, found = reviewing.exhibit(studio, session, reviewer, number(case_id))
            looks.require_access(session, reviewer, case)
            is_narrowed = cases.is_narrowed(session, case)
            needed: What = "colour" if colour and is_narrowed else "picture"
            if not looks.is_open(session, reviewer, case, needed):
                raise NotFound("There is no such picture.")
        if not found.path.is_file():
            raise NotFound("There is no such picture.")
        if is_narrowed and not colour:
            return _grey(found.path.read_bytes())
        media_type = MEDIA_TYPES[found.path.suffix]
        return FileResponse(found.path, media_type=media_type, headers=UNKEPT)

    return router


def _veil(path: Path) -> Response:
    """Return a few grey specks: enough to see that there is a picture."""
    if not path.is_file():
        raise NotFound("There is no such picture.")
    with Image.open(path) as image:
        small = image.convert("L")
        small.thumbnail((VEIL_PIXELS, VEIL_PIXELS))
    return _png(small)


def _grey(content: bytes) -> Response:
    with Image.open(io.BytesIO(content)) as image:
        return _png(image.convert("L"))


def _png(image: Image.Image) -> Response:
    file = io.BytesIO()
    image.save(file, "PNG")
    return Response(file.getvalue(), media_type="image/png", headers=UNKEPT)
