"""Who is asking: the member behind a request's cookie, looked up on every request.

The cookie holds a random value and nothing else. Role, seat and status are read from the member's
row each time, which is why a suspension or a removal holds at the next request. Pages, streams and
media ask here; `webapp.sso.sign_in` opens and ends the sessions that `webapp.sso.sessions` keeps.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from licensing.errors import AtelierError
from licensing.seats import Member, Page, Role, may
from webapp.settings import Settings
from webapp.sso import sessions
from webapp.studio import Studio

# Where the first click after sign-in leads; the pages themselves decide who may enter.
HOMES = {
    Role.OWNER: Page.CREATE,
    Role.ADMIN: Page.TEAM,
    Role.CREATOR: Page.CREATE,
    Role.FINANCE: Page.FINANCE,
    Role.REVIEWER: Page.REVIEW,
}


class SignedOut(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Nobody is signed in on this browser; `ended` says that somebody was."""

    code = "signed_out"
    status = 401

    def __init__(self, *, ended: bool) -> None:
        super().__init__(
            "Your session has ended. Sign in again; a running job goes on."
            if ended
            else "Sign in first."
        )
        self.ended = ended


@dataclass(frozen=True)
class SignedIn:
    """A live session and its member, as they stood when the request was looked at."""

    session_id: uuid.UUID
    member: Member


def current_member(studio: Studio, request: HTTPConnection) -> Member | None:
    """Return the active member behind `request`, read from the database now, or None.

    Handlers call it for every event: the request of a queued Gradio event may be minutes old.
    """
    signed_in = look_up(studio, request)
    return signed_in.member if signed_in else None


def require_member(studio: Studio, request: HTTPConnection) -> Member:
    """Return the active member behind `request`; raises `SignedOut`."""
    member = current_member(studio, request)
    if member is None:
        raise SignedOut(ended=session_cookie(studio, request) is not None)
    return member


def require(studio: Studio, page: Page) -> Callable[[Request], Awaitable[str | None]]:
    """Return the `auth_dependency` of a page's mount: the member's id, or None (Gradio's 401).

    `webapp.door` has turned away by then whoever may not enter, with a sentence or a redirect;
    this is the same question asked by the mount itself, so that a mount alone is never open.
    """

    async def member_id(request: Request) -> str | None:
        member = await run_in_threadpool(current_member, studio, request)
        return str(member.id) if member is not None and may(member.role, page) else None

    return member_id


def look_up(studio: Studio, request: HTTPConnection) -> SignedIn | None:
    """Find the live session behind `request` and its active member: one indexed query."""
    cookie = session_cookie(studio, request)
    if cookie is None:
        return None
    with studio.database.read() as session:
        found = sessions.find_live(session, cookie)
    return None if found is None else SignedIn(session_id=found[0], member=found[1])


def home(member: Member) -> str:
    """Return the path of the page that `member` starts on."""
    return f"/{HOMES[Role(member.role)]}"


def cookie_name(settings: Settings) -> str:
    """Return the cookie's name; over https the prefix keeps other hosts from setting it."""
    return "__Host-atelier_session" if settings.is_https else "atelier_session"


def session_cookie(studio: Studio, request: HTTPConnection) -> str | None:
    return request.cookies.get(cookie_name(studio.settings))


def set_session_cookie(response: Response, settings: Settings, value: str) -> None:
    """Give the browser its session: no script reads it, no other site sends it along."""
    response.set_cookie(
        cookie_name(settings),
        value,
        max_age=settings.session_hours * 3600,
        path="/",
        secure=settings.is_https,
        httponly=True,
        samesite="lax",
    )


def drop_session_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        cookie_name(settings), path="/", secure=settings.is_https, httponly=True, samesite="lax"
    )
