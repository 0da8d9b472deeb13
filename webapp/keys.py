"""The page /keys: a member makes, sees and revokes the API keys that act for them.

A key is on the screen once, in the answer to the request that made it; a reload makes no second
one, because the form carries the name of what it was asked for. Works without a script.
"""

import uuid
from datetime import timedelta

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from licensing import api_keys
from licensing.errors import AtelierError, NotFound
from licensing.seats import Member
from webapp import identity
from webapp.pages import page
from webapp.studio import Studio

LIFETIMES_DAYS = (30, 90, 365, 0)  # on offer; 0 is "until it is revoked"
FORM_FIELDS_MAX = 4


def routes(studio: Studio) -> APIRouter:
    """Return the routes at /keys; each authorises itself."""
    router = APIRouter()

    @router.get("/keys")
    def own_keys(request: Request) -> Response:
        return _page(studio, identity.require_member(studio, request))

    @router.post("/keys")
    async def make(request: Request) -> Response:
        member = await run_in_threadpool(identity.require_member, studio, request)
        async with request.form(max_files=0, max_fields=FORM_FIELDS_MAX) as form:
            name, days = str(form.get("name", "")), str(form.get("days", ""))
        return await run_in_threadpool(_make, studio, member, name, days)

    @router.post("/keys/{key_id}/revoke")
    def revoke(request: Request, key_id: str) -> Response:
        member = identity.require_member(studio, request)
        try:
            wanted = uuid.UUID(key_id)
        except ValueError as error:
            raise NotFound("There is no such key.") from error
        with studio.database.transaction() as session:
            api_keys.revoke(session, member, wanted)
        return RedirectResponse("/keys", 303)

    return router


def _make(studio: Studio, member: Member, name: str, days: str) -> Response:
    chosen = {str(offered): offered for offered in LIFETIMES_DAYS}.get(days)
    if chosen is None:
        return _page(studio, member, name=name, problem="Choose how long the key holds.")
    lifetime = timedelta(days=chosen) if chosen else None
    try:
        with studio.database.transaction() as session:
            key, token = api_keys.create(session, member, name=name, lifetime=lifetime)
    except AtelierError as error:
        return _page(studio, member, name=name, problem=error.message, status=error.status)
    return _page(studio, member, made=(key.name, token))


def _page(
    studio: Studio,
    member: Member,
    *,
    name: str = "",
    problem: str = "",
    made: tuple[str, str] | None = None,
    status: int = 200,
) -> Response:
    with studio.database.read() as session:
        keys = api_keys.keys_of(session, member.id)
    return page(
        "keys.html",
        status=status,
        keys=keys,
        made=made,
        name=name,
        problem=problem,
        lifetimes=LIFETIMES_DAYS,
        home=identity.home(member),
        url=studio.settings.url,
    )
