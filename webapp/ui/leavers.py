"""The routes of the team page for what somebody left: read, hand on, take out as a file, erase.

They answer JSON and a ZIP file; the page's own script draws them. Each authorises itself, as all
routes of the team page do; `webapp.departures` decides.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.responses import JSONResponse, StreamingResponse

from licensing.errors import NotFound
from licensing.seats import Member, Page
from webapp import departures
from webapp.studio import Studio
from webapp.ui import desk


def routes(studio: Studio) -> APIRouter:
    """Return the routes below /team/members/{id}/pictures."""
    router = APIRouter(prefix="/members/{member_id}/pictures", default_response_class=JSONResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.get("")
    def left_behind(actor: Admin, member_id: str) -> dict[str, int]:
        left = departures.left_behind(studio, actor, _id(member_id))
        return {"generations": left.generations, "pictures": left.pictures}

    @router.get("/archive.zip")
    def export(actor: Admin, member_id: str) -> StreamingResponse:
        member, content = departures.export(studio, actor, _id(member_id))
        name = f"pictures-{member.id.hex[:8]}.zip"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        }
        return StreamingResponse(content, media_type="application/zip", headers=headers)

    @router.post("/hand-on")
    def hand_on(actor: Admin, member_id: str, to: Annotated[str, Form()]) -> dict[str, int]:
        return {"generations": departures.hand_on(studio, actor, _id(member_id), _id(to))}

    @router.post("/erase")
    def erase(actor: Admin, member_id: str) -> dict[str, int]:
        return {"pictures": departures.erase(studio, actor, _id(member_id))}

    return router


def _id(given: str) -> uuid.UUID:
    try:
        return uuid.UUID(given)
    except ValueError as error:
        raise NotFound("There is no such member.") from error
