"""Joining on the team page: many people at once from a file, and whole domains.

A file is read as text by the page's script, so that the dry run and the import send the very same
lines. Links that were not mailed are shown once.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.responses import HTMLResponse

from licensing.domains import SeatPolicy
from licensing.errors import NotFound
from licensing.member_import import ImportRefused
from licensing.seats import Member, Page
from webapp import joining
from webapp.studio import Studio
from webapp.ui import desk, team_view
from webapp.ui.team_view import View

FILE_CHARACTERS_MAX = 900_000  # a request's body ends at a megabyte
DOMAIN_CHARACTERS_MAX = 253

Text = Annotated[str, Form(max_length=FILE_CHARACTERS_MAX)]


def routes(studio: Studio) -> APIRouter:
    """Return the routes on domains and imports; each authorises itself."""
    router = APIRouter(default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.post("/import/plan")
    def plan(actor: Admin, text: Text = "") -> HTMLResponse:
        over: dict[str, object] = {"import_text": text}
        try:
            over["import_plan"] = joining.plan_import(studio, actor, text.encode())
        except ImportRefused as error:
            over |= {"import_plan": error.plan, "import_problem": error.message}
        news = "Nothing is written yet: this is what the file would do."
        return team_view.draw(studio, actor, View.JOINING, news=news, over=over)

    @router.post("/import")
    def carry_out(actor: Admin, text: Text = "") -> HTMLResponse:
        try:
            done = joining.carry_out_import(studio, actor, text.encode())
        except ImportRefused as error:
            over = {
                "import_text": text,
                "import_plan": error.plan,
                "import_problem": error.message,
            }
            return team_view.draw(studio, actor, View.JOINING, over=over)
        count = len(done.invitations)
        mailed = sum(one.link is None for one in done.invitations)
        links = [(one.invite.email, one.link) for one in done.invitations if one.link]
        news = f"{count} {'person is' if count == 1 else 'people are'} invited, {mailed} by mail."
        return team_view.draw(studio, actor, View.JOINING, news=news, over={"links": links})

    @router.post("/domains")
    def add_domain(
        actor: Admin,
        domain: Annotated[str, Form(max_length=DOMAIN_CHARACTERS_MAX)] = "",
        policy: Annotated[str, Form()] = SeatPolicy.ASK,
    ) -> HTMLResponse:
        made = joining.add_domain(studio, actor, domain=domain, seat_policy=_policy(policy))
        return _draw(studio, actor, f"Now prove that {made.domain} is yours.")

    @router.post("/domains/{domain_id}/verify")
    def verify(actor: Admin, domain_id: str) -> HTMLResponse:
        proved = joining.verify_domain(studio, actor, _id(domain_id))
        return _draw(studio, actor, f"{proved.domain} is yours: its people can join.")

    @router.post("/domains/{domain_id}/policy")
    def policy(actor: Admin, domain_id: str, policy: Annotated[str, Form()]) -> HTMLResponse:
        joining.set_domain_policy(studio, actor, _id(domain_id), _policy(policy))
        return _draw(studio, actor, "The rule holds for whoever joins from now on.")

    @router.post("/domains/{domain_id}/provider")
    def require(actor: Admin, domain_id: str, issuer: Annotated[str, Form()] = "") -> HTMLResponse:
        joining.require_provider(studio, actor, _id(domain_id), issuer or None)
        words = "one provider alone" if issuer else "any provider"
        return _draw(studio, actor, f"People of that domain sign in through {words}.")

    @router.post("/domains/{domain_id}/remove")
    def remove(actor: Admin, domain_id: str) -> HTMLResponse:
        joining.remove_domain(studio, actor, _id(domain_id))
        return _draw(studio, actor, "Nobody joins by that domain any more. Who is in, stays.")

    return router


def _draw(studio: Studio, actor: Member, news: str) -> HTMLResponse:
    return team_view.draw(studio, actor, View.JOINING, news=news)


def _policy(words: str) -> SeatPolicy:
    try:
        return SeatPolicy(words)
    except ValueError as error:
        raise NotFound("There is no such rule.") from error


def _id(words: str) -> uuid.UUID:
    try:
        return uuid.UUID(words)
    except ValueError as error:
        raise NotFound("There is nothing at this address.") from error
