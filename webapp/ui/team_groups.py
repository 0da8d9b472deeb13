"""Teams on the team page: who belongs to which, and which one pays."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.responses import HTMLResponse

from licensing import seats, teams
from licensing.errors import NotFound
from licensing.seats import Member, Page
from webapp import account
from webapp.studio import Studio
from webapp.ui import desk, team_view
from webapp.ui.team_view import View

WORDS_MAX = 200

Words = Annotated[str, Form(max_length=WORDS_MAX)]


def routes(studio: Studio) -> APIRouter:
    """Return the routes on teams; each authorises itself."""
    router = APIRouter(default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.get("/groups/new")
    def new_sheet(_: Admin) -> HTMLResponse:
        return desk.fragment("team_group_new.html")

    @router.post("/groups")
    def create(actor: Admin, name: Words = "", cost_centre: Words = "") -> HTMLResponse:
        made = account.create_team(studio, actor, name=name, cost_centre=cost_centre or None)
        return _draw(studio, actor, f"The team {made.name} is there.")

    @router.get("/groups/{team_id}")
    def group_sheet(actor: Admin, team_id: str) -> HTMLResponse:
        with studio.database.read() as session:
            team = teams.get(session, actor.organisation_id, _id(team_id))
            inside = teams.members_of(session, team.id)
            everybody = seats.members(session, actor.organisation_id)
        ids = {member.id for member in inside}
        outside = [member for member in everybody if member.id not in ids]
        return desk.fragment("team_group.html", team=team, inside=inside, outside=outside)

    @router.post("/groups/{team_id}")
    def rename(
        actor: Admin, team_id: str, name: Words = "", cost_centre: Words = ""
    ) -> HTMLResponse:
        team = account.rename_team(studio, actor, _id(team_id), name=name, cost_centre=cost_centre)
        return _draw(studio, actor, f"The team is called {team.name}.")

    @router.post("/groups/{team_id}/archive")
    def archive(actor: Admin, team_id: str) -> HTMLResponse:
        team = account.archive_team(studio, actor, _id(team_id))
        return _draw(studio, actor, f"The team {team.name} has ended. Bills keep its name.")

    @router.post("/groups/{team_id}/members")
    def add(actor: Admin, team_id: str, member: Words = "") -> HTMLResponse:
        team = account.add_to_team(studio, actor, _id(team_id), _id(member))
        return _draw(studio, actor, f"The team {team.name} has one more.")

    @router.post("/groups/{team_id}/members/{member_id}/remove")
    def remove(actor: Admin, team_id: str, member_id: str) -> HTMLResponse:
        team = account.remove_from_team(studio, actor, _id(team_id), _id(member_id))
        return _draw(studio, actor, f"The team {team.name} has one fewer.")

    @router.post("/members/{member_id}/paying-team")
    def paying_team(actor: Admin, member_id: str, team: Words = "") -> HTMLResponse:
        chosen = _id(team) if team else None
        member = account.set_paying_team(studio, actor, _id(member_id), chosen)
        words = "their team" if chosen else "the organisation"
        return team_view.draw(
            studio, actor, View.PEOPLE, news=f"From now on {words} pays for {member.name}."
        )

    return router


def _draw(studio: Studio, actor: Member, news: str) -> HTMLResponse:
    return team_view.draw(studio, actor, View.GROUPS, news=news)


def _id(words: str) -> uuid.UUID:
    try:
        return uuid.UUID(words)
    except ValueError as error:
        raise NotFound("There is nothing at this address.") from error
