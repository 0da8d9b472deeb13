"""The organisation's directory on the team page: tokens by which it keeps members up to date."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.responses import HTMLResponse

from licensing.domains import SeatPolicy
from licensing.errors import NotFound
from licensing.seats import Member, Page
from webapp import directory
from webapp.studio import Studio
from webapp.ui import desk, team_view
from webapp.ui.team_view import View

LABEL_CHARACTERS_MAX = 200

Words = Annotated[str, Form(max_length=LABEL_CHARACTERS_MAX)]


def routes(studio: Studio) -> APIRouter:
    """Return the routes on the directory and its tokens; each authorises itself."""
    router = APIRouter(prefix="/directory", default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.post("")
    def connect(actor: Admin, provider: Words = "", policy: Words = "") -> HTMLResponse:
        if policy not in set(SeatPolicy):
            raise NotFound("There is no such rule.")
        directory.connect(studio, actor, provider=provider, seat_policy=SeatPolicy(policy))
        return _draw(studio, actor, "The directory is connected. Now make it a token.")

    @router.post("/tokens")
    def make(actor: Admin, label: Words = "") -> HTMLResponse:
        _, token = directory.create_token(studio, actor, label=label)
        return _draw(studio, actor, "Copy the token now: it is shown this once.", token)

    @router.post("/tokens/{token_id}/rotate")
    def rotate(actor: Admin, token_id: str) -> HTMLResponse:
        _, token = directory.rotate_token(studio, actor, _id(token_id))
        return _draw(studio, actor, "Copy the new token; the old one holds for a day.", token)

    @router.post("/tokens/{token_id}/revoke")
    def revoke(actor: Admin, token_id: str) -> HTMLResponse:
        directory.revoke_token(studio, actor, _id(token_id))
        return _draw(studio, actor, "The token is dead from now on.")

    return router


def _draw(studio: Studio, actor: Member, news: str, token: str = "") -> HTMLResponse:
    return team_view.draw(studio, actor, View.JOINING, news=news, over={"new_token": token})


def _id(words: str) -> uuid.UUID:
    try:
        return uuid.UUID(words)
    except ValueError as error:
        raise NotFound("There is no such token.") from error
