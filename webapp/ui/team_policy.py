"""The use policy on the team page: how strict each category is, and making one stricter.

The floor is the licence's; `licensing.policy` keeps every change. The creator page needs nothing of
this: the next prompt is judged by it.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.responses import HTMLResponse

from licensing import policy
from licensing.prompt_rules import load
from licensing.seats import Member, Page
from webapp.studio import Studio
from webapp.ui import desk, team_view
from webapp.ui.team_reads import ACTION_WORDS
from webapp.ui.team_view import View

CATEGORY_CHARACTERS_MAX = 64
ACTION_CHARACTERS_MAX = 16


def routes(studio: Studio) -> APIRouter:
    """Return the one route on the policy; it authorises itself."""
    router = APIRouter(default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.post("/policy")
    def tighten(
        actor: Admin,
        category: Annotated[str, Form(max_length=CATEGORY_CHARACTERS_MAX)] = "",
        action: Annotated[str, Form(max_length=ACTION_CHARACTERS_MAX)] = "",
        reason: Annotated[str, Form(max_length=policy.REASON_CHARACTERS_MAX)] = "",
    ) -> HTMLResponse:
        with studio.database.transaction() as session:
            made = policy.tighten(session, actor, category, action, reason=reason)
        name = load().categories[made.category].name
        news = f"{name}: {ACTION_WORDS[made.action].lower()}, from the next prompt on."
        return team_view.draw(studio, actor, View.POLICY, news=news)

    return router
