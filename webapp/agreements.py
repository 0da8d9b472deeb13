"""The page on which a member reads and accepts the texts that are in force.

The form sends back the fingerprint of each text that it showed: what is stored as accepted is what
was on the screen, and a text that changed in between is shown again.
"""

from functools import cache
from typing import Any

from fastapi import APIRouter
from markdown_it import MarkdownIt
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from licensing import agreements
from licensing.agreements import Agreement
from licensing.db import now
from licensing.seats import Member
from webapp import identity
from webapp.pages import page
from webapp.sso.sign_in import safe_next
from webapp.studio import Studio, studio_of

router = APIRouter()


@router.get("/agreements")
def read_agreements(request: Request) -> Response:
    """Show what is still to be accepted, or everything if nothing is."""
    studio = studio_of(request)
    member = identity.require_member(studio, request)
    with studio.database.read() as session:
        asked = agreements.to_accept(session, member.id)
        shown = asked or agreements.in_force_for(session, member.id)
    return _page(request, member, shown, is_settled=not asked)


@router.post("/agreements")
async def accept_agreements(request: Request) -> Response:
    """Store what was ticked, and go on once nothing is missing."""
    studio = studio_of(request)
    member = await run_in_threadpool(identity.require_member, studio, request)
    async with request.form() as form:
        ticked = {str(value) for value in form.getlist("accept")}
    missing = await run_in_threadpool(_accept, studio, member, ticked)
    if missing:
        return _page(request, member, missing, is_settled=False, is_refused=True)
    onward = safe_next(request.query_params.get("next"))
    return RedirectResponse(onward if onward != "/" else identity.home(member), 303)


def _accept(studio: Studio, member: Member, ticked: set[str]) -> tuple[Agreement, ...]:
    """Accept the ticked texts; return those without which they still cannot generate."""
    with studio.database.transaction() as session:
        asked = agreements.to_accept(session, member.id)
        chosen = [agreement for agreement in asked if agreement.text_sha256 in ticked]
        agreements.accept(session, member.id, chosen, now())
        return agreements.missing(session, member.id)


def _page(
    request: Request,
    member: Member,
    shown: tuple[Agreement, ...],
    *,
    is_settled: bool,
    is_refused: bool = False,
) -> Response:
    values: dict[str, Any] = {
        "texts": [(agreement, _html(agreement.text)) for agreement in shown],
        "is_settled": is_settled,
        "is_refused": is_refused,
        "name": member.name,
        "home": identity.home(member),
        "action": f"?{request.url.query}" if request.url.query else "",
    }
    return page("agreements.html", status=422 if is_refused else 200, **values)


@cache
def _html(markdown: str) -> str:
    """Render a text without its first heading, which the page shows beside the version."""
    first, _, rest = markdown.partition("\n")
    html: str = MarkdownIt("commonmark", {"html": False}).render(
        rest if first.startswith("# ") else markdown
    )
    return html
