"""The door in front of the pages, and the switch that cuts streams when a session ends.

Gradio asks its `auth_dependency` on some routes and not on others (heartbeat, cancel, reset, its
tool endpoint). The door stands before all of them: nothing under a page's path is reached without
a live session whose role may see that page. Streams that are open when a session ends, a member
is suspended or changes role are cut by `watch`, which asks the database twice a second whether the
sessions behind them still hold; that also holds across several web processes.

What Gradio offers and no page of ours uses stays outside: its developers' routes, and the page
parameter of its addresses, which it answers with a fault.
"""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from licensing import agreements
from licensing.errors import AtelierError, NotAllowed, NotFound
from licensing.seats import Page, Role, may
from webapp.errors import answer, wants_page
from webapp.identity import SignedIn, SignedOut, look_up, session_cookie
from webapp.sso.sessions import live_roles
from webapp.studio import Studio

WATCH_SECONDS = 0.5  # a departure ends streams within a second, the look itself included
PAGES = {f"/{page}": page for page in Page}
# Scripts, styles and fonts of the page library: the same public files for everybody.
PUBLIC_PARTS = ("/assets/", "/static/", "/svelte/")
# Answers without an end, which must not outlive their session.
STREAM_PARTS = ("/gradio_api/queue/data", "/gradio_api/heartbeat/")
# A stream for developers that looks for changed files twenty times a second.
CLOSED_PARTS = ("/gradio_api/dev/",)
GRADIO_PAGE = "page"  # by which Gradio tells the pages of one app apart; ours have one
# Browsers ask for this one by themselves, before a page has named its icon.
ICONS = {"/favicon.ico": "/static/mark.svg"}


@dataclass(frozen=True, eq=False)
class Stream:
    """One open response that must not outlive its session."""

    session_id: uuid.UUID
    role: Role
    cut: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """The streams that this process has open; the door adds and removes, `watch` cuts."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()

    @contextmanager
    def watched(self, signed_in: SignedIn) -> Iterator[Stream]:
        """Keep a stream under watch for the length of the block."""
        stream = Stream(signed_in.session_id, Role(signed_in.member.role))
        self._open.add(stream)
        try:
            yield stream
        finally:
            self._open.discard(stream)

    def open_now(self) -> frozenset[Stream]:
        return frozenset(self._open)


async def watch(studio: Studio, streams: Streams) -> None:
    """Cut streams whose session has ended, for as long as the process runs."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        # Only these are judged by the answer: a stream that opens meanwhile is not part of it.
        asked = streams.open_now()
        if not asked:
            continue
        session_ids = {stream.session_id for stream in asked}
        try:
            live = await run_in_threadpool(_read_live_roles, studio, session_ids)
        except OperationalError:
            continue  # the database is away: nothing new can be read through the streams either
        for stream in asked:
            if live.get(stream.session_id) != stream.role:
                stream.cut.set()


class Door:
    """ASGI middleware: lets a request through to a page, or answers it at once."""

    def __init__(self, app: ASGIApp, studio: Studio, streams: Streams) -> None:
        self._app = app
        self._studio = studio
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # no page of ours uses one
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path in ICONS:
            await self._app({**scope, "path": ICONS[path]}, receive, send)
            return
        page = page_of(path)
        is_stream = path == "/events" or (page is not None and _has(path, STREAM_PARTS))
        if page is None and not is_stream:
            await self._app(scope, receive, send)
            return
        scope = {**scope, "query_string": without_page(scope["query_string"])}
        request = Request(scope, receive)
        try:
            signed_in = await run_in_threadpool(admit, self._studio, request, page)
        except (AtelierError, OperationalError) as error:
            await answer(request, error)(scope, receive, send)
            return
        if not is_stream:
            await self._app(scope, receive, send)
            return
        with self._streams.watched(signed_in) as stream:
            await _run_until_cut(self._app, scope, receive, send, stream.cut)


def page_of(path: str) -> Page | None:
    """Return the page that `path` belongs to; its library's public files belong to none."""
    at = f"/{path.split('/')[1]}"
    if at not in PAGES or path.startswith(tuple(f"{at}{part}" for part in PUBLIC_PARTS)):
        return None
    return PAGES[at]


def without_page(query: bytes) -> bytes:
    """Return the query without Gradio's page parameter, however its name is written."""
    asked = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in asked if name != GRADIO_PAGE]
    return query if len(kept) == len(asked) else urlencode(kept).encode()


def admit(studio: Studio, request: Request, page: Page | None) -> SignedIn:
    """Return who is asking if they may enter `page` (None: any member may).

    Raises `SignedOut`, `NotAllowed`, `NotFound`, and `AgreementRequired` where a person opens the
    page that generates: they are sent to the agreements before they have written a prompt.
    """
    signed_in = look_up(studio, request)
    if signed_in is None:
        raise SignedOut(ended=session_cookie(studio, request) is not None)
    member = signed_in.member
    if page is not None and not may(member.role, page):
        raise NotAllowed(f"The {page} page is not part of your role ({member.role}).")
    if page is not None and _has(request.url.path, CLOSED_PARTS):
        raise NotFound("There is nothing here.")
    if page is Page.CREATE and member.seated and wants_page(request):
        with studio.database.read() as session:
            agreements.require_accepted(session, member.id)
    return signed_in


def _has(path: str, parts: tuple[str, ...]) -> bool:
    """Whether `path` is one of these, below its page."""
    return f"/{path.partition('/')[2].partition('/')[2]}".startswith(parts)


def _read_live_roles(studio: Studio, session_ids: set[uuid.UUID]) -> dict[uuid.UUID, Role]:
    with studio.database.read() as session:
        return live_roles(session, session_ids)


async def _run_until_cut(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, cut: asyncio.Event
) -> None:
    """Run `app`; when `cut` is set, stop it and close the response in good order."""
    state = {"started": False, "done": False}

    async def observed(message: Message) -> None:
        state["started"] = True
        state["done"] = message["type"] == "http.response.body" and not message.get("more_body")
        await send(message)

    work = asyncio.ensure_future(app(scope, receive, observed))
    waiting = asyncio.ensure_future(cut.wait())
    try:
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return
    finally:
        # Also when the browser has gone: neither task may outlive the request.
        waiting.cancel()
        work.cancel()
        await asyncio.gather(work, waiting, return_exceptions=True)
    if not state["started"]:
        await answer(Request(scope, receive), SignedOut(ended=True))(scope, receive, send)
    elif not state["done"]:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
