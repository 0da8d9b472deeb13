"""The team page: who is here, what they may spend, how people come in, and what has changed.

Five views under one header, one file each: people, teams and budgets, plan and seats, joining, keys
and history. `team_view` draws them. Mounted by `webapp.app`.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query
from starlette.responses import HTMLResponse

from licensing.seats import Member, Page
from webapp.studio import Studio
from webapp.ui import (
    desk,
    leavers,
    team_access,
    team_budgets,
    team_directory,
    team_groups,
    team_joining,
    team_members,
    team_plan,
    team_policy,
    team_view,
)
from webapp.ui.team_members import Part, Search
from webapp.ui.team_view import View


def mount(app: FastAPI, studio: Studio) -> None:
    """Put the page and its routes at /team."""
    desk.mount(
        app,
        studio,
        Page.TEAM,
        routes(studio),
        title="Team",
        scripts=("team.js",),
        styles=("team.css",),
    )


def routes(studio: Studio) -> APIRouter:
    """Return the routes below /team; each authorises itself."""
    router = APIRouter(prefix="/team", default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.get("/view")
    def view(
        actor: Admin,
        q: Search = "",
        part: Part = 1,
        view: View = View.PEOPLE,
        *,
        seats: Annotated[int | None, Query(ge=0, le=10**6)] = None,
        before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    ) -> HTMLResponse:
        if seats is not None:
            if view is View.PLAN:
                return team_plan.draw(studio, actor, seats)
            return team_view.draw(studio, actor, View.PLAN, news=team_plan.NEWS[bool(seats)])
        return team_view.draw(studio, actor, view, q, part, before_id=before)

    parts = (
        leavers,
        team_groups,
        team_budgets,
        team_plan,
        team_policy,
        team_joining,
        team_directory,
        team_access,
        team_members,
    )
    for part_of_page in parts:
        router.include_router(part_of_page.routes(studio))
    return router
