"""Drawing the team page: its header, its tabs, and the one view that was asked for."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from licensing import plans
from licensing.invites import INVITE_LIFETIME
from licensing.money import plain_usd
from licensing.seats import Member
from webapp import directory
from webapp.studio import Studio
from webapp.ui import desk, people, team_reads


class View(StrEnum):
    """The parts of the page, in the order of their tabs."""

    PEOPLE = "people"
    GROUPS = "groups"
    PLAN = "plan"
    JOINING = "joining"
    POLICY = "policy"
    ACCESS = "access"


TABS = {
    View.PEOPLE: "People",
    View.GROUPS: "Teams and budgets",
    View.PLAN: "Plan and seats",
    View.JOINING: "Joining",
    View.POLICY: "Policy",
    View.ACCESS: "Keys and history",
}

READS: dict[View, Callable[[Session, Member], dict[str, Any]]] = {
    View.GROUPS: team_reads.read_groups,
    View.PLAN: team_reads.read_plan,
    View.JOINING: team_reads.read_joining,
    View.POLICY: team_reads.read_policy,
}


def draw(
    studio: Studio,
    actor: Member,
    view: View,
    words: str = "",
    part: int = 1,
    *,
    news: str = "",
    link: str = "",
    before_id: int | None = None,
    over: dict[str, Any] | None = None,
) -> HTMLResponse:
    """Read what the view shows and draw the page.

    `news` says what was just done; `over` lays the answer of a verb over what is read.
    """
    with studio.database.read() as session:
        plan = plans.read(session, actor.organisation_id)
        if view is View.PEOPLE:
            shown = {
                "team": people.read_team(session, actor.organisation_id, words=words, page=part)
            }
        elif view is View.ACCESS:
            shown = team_reads.read_access(session, actor, before_id)
        else:
            shown = READS[view](session, actor)
        organisation = people.organisation_name(session, actor.organisation_id)
    return desk.fragment(
        "team.html",
        view=view,
        tabs=TABS,
        plan=plan,
        organisation=organisation,
        actor=actor,
        words=words.strip(),
        news=news,
        link=link,
        link_days=INVITE_LIFETIME.days,
        role_name=people.role_name,
        initials=people.initials,
        plain=plain_usd,
        providers=studio.settings.providers,
        scim_address=directory.address(studio),
        is_demo=studio.settings.has_demo_provider,
        **{**shown, **(over or {})},
    )
