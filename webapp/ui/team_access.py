"""Keys, former members and the history on the team page."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.responses import HTMLResponse

from licensing import api_keys, seats
from licensing.errors import NotFound
from licensing.seats import Member, Page, Status
from webapp import departures
from webapp.studio import Studio
from webapp.ui import desk, team_view
from webapp.ui.team_view import View


def routes(studio: Studio) -> APIRouter:
    """Return the routes on keys and former members; each authorises itself."""
    router = APIRouter(default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.post("/keys/{key_id}/revoke")
    def revoke(actor: Admin, key_id: str) -> HTMLResponse:
        with studio.database.transaction() as session:
            key = api_keys.revoke(session, actor, _id(key_id))
        return _draw(studio, actor, f"The key {key.name} is dead from now on.")

    @router.get("/leavers/{member_id}")
    def leaver_sheet(actor: Admin, member_id: str) -> HTMLResponse:
        left = departures.left_behind(studio, actor, _id(member_id))
        with studio.database.read() as session:
            member = seats.get_member(session, _id(member_id))
            everybody = seats.members(session, actor.organisation_id)
        assert member is not None, "whoever left something behind was a member"
        heirs = [one for one in everybody if one.status == Status.ACTIVE and one.id != member.id]
        return desk.fragment("team_leaver.html", member=member, left=left, heirs=heirs)

    @router.post("/leavers/{member_id}/hand-on")
    def hand_on(actor: Admin, member_id: str, to: Annotated[str, Form()] = "") -> HTMLResponse:
        count = departures.hand_on(studio, actor, _id(member_id), _id(to))
        words = f"{count} {'generation has' if count == 1 else 'generations have'} a new owner."
        return _draw(studio, actor, words)

    @router.post("/leavers/{member_id}/erase")
    def erase(actor: Admin, member_id: str) -> HTMLResponse:
        count = departures.erase(studio, actor, _id(member_id))
        words = f"{count} {'picture is' if count == 1 else 'pictures are'} erased, for good."
        return _draw(studio, actor, words)

    return router


def _draw(studio: Studio, actor: Member, news: str) -> HTMLResponse:
    return team_view.draw(studio, actor, View.ACCESS, news=news)


def _id(words: str) -> uuid.UUID:
    try:
        return uuid.UUID(words)
    except ValueError as error:
        raise NotFound("There is nothing at this address.") from error
