"""GET /events: what happens to a member's jobs, as it happens, as server-sent events.

One connection of the process listens to PostgreSQL and wakes the followers of the member that a
notice names; each follower then reads rows, so nothing is lost when a notice is. A page that
connects gets a `snapshot`; one that comes back with `Last-Event-ID` gets the rows it missed.

    snapshot   jobs (newest and all in flight), gallery (first page), studio
    job        job, said: a job as it is now, and a sentence for screen readers
    step       id, step, steps, preview
    studio     balance, available_micros, worker, positions: sent when it changes
    ended      the session or membership is over; the stream closes

The stream authorises itself at every wake; `webapp.door` cuts it besides.
"""

import asyncio
import json
import logging
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import psycopg
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool

from inference import events
from licensing.errors import AtelierError
from webapp import identity
from webapp.news import News, catch_up
from webapp.studio import Studio

LOOK_SECONDS = 2.0  # positions, balance and workers change without an event of this member
RECONNECT_SECONDS = 1.0  # between attempts while the database is away
BROWSER_RETRY_MS = 1000
STREAMS_MAX = 24  # a member's, in one process; more tabs than anybody looks at, fewer than a flood
LAST_ID_DIGITS_MAX = 18  # a BIGINT has no more; anything longer is no id of ours

_log = logging.getLogger(__name__)


def routes(studio: Studio) -> APIRouter:
    """Return GET /events; the router's lifespan keeps the process's one listening connection."""
    wakes = Wakes()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        listening = asyncio.create_task(listen(studio.database.url, wakes))
        yield
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening

    router = APIRouter(lifespan=lifespan)

    @router.get("/events")
    async def follow_events(request: Request) -> StreamingResponse:
        member = await run_in_threadpool(identity.require_member, studio, request)
        if wakes.count(member.id) >= STREAMS_MAX:
            raise TooManyStreams(f"{STREAMS_MAX} of your tabs are live already; close one of them.")
        seen = last_seen(request)
        return StreamingResponse(
            follow(studio, wakes, request, member.id, seen),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router


async def follow(
    studio: Studio, wakes: "Wakes", request: Request, member_id: uuid.UUID, seen: int | None
) -> AsyncIterator[str]:
    """Yield the stream's text for one page, until it goes away or may no longer look."""
    news = News(seen=seen)
    yield f"retry: {BROWSER_RETRY_MS}\n\n"
    with wakes.of(member_id) as wake:
        while True:
            wake.clear()
            try:
                news = await run_in_threadpool(catch_up, studio, request, news)
            except OperationalError:
                _log.warning("The database does not answer; a page waits for it.")
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            for message in news.messages:
                yield as_text(*message)
            if news.is_over:
                return
            if not news.messages:
                yield ": still here\n\n"
            if not news.has_more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), LOOK_SECONDS)


class TooManyStreams(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The member has as many live pages open as one person may have."""

    code = "too_many_streams"
    status = 429


class Wakes:
    """Who waits for news of whom, in this process and on its one event loop."""

    def __init__(self) -> None:
        self._waiting: defaultdict[uuid.UUID, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def of(self, member_id: uuid.UUID) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever something happened to this member's jobs."""
        wake = asyncio.Event()
        self._waiting[member_id].add(wake)
        try:
            yield wake
        finally:
            self._waiting[member_id].discard(wake)
            if not self._waiting[member_id]:
                del self._waiting[member_id]

    def count(self, member_id: uuid.UUID) -> int:
        """Return how many pages follow this member's jobs."""
        return len(self._waiting.get(member_id, ()))

    def ring(self, member_id: uuid.UUID) -> None:
        """Wake this member's followers."""
        for wake in self._waiting.get(member_id, ()):
            wake.set()

    def ring_all(self) -> None:
        """Wake everybody: notices may have been missed while nobody listened."""
        for followers in self._waiting.values():
            for wake in followers:
                wake.set()


async def listen(url: str, wakes: Wakes) -> None:
    """Pass PostgreSQL's notices on to the followers; connect again for as long as it takes."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await connection.execute(f"LISTEN {events.CHANNEL}")
                wakes.ring_all()
                async for notice in connection.notifies():
                    with suppress(ValueError):
                        wakes.ring(uuid.UUID(notice.payload.partition(":")[0]))
        except psycopg.OperationalError as error:
            _log.warning("The database does not answer; live progress waits for it: %s", error)
        await asyncio.sleep(RECONNECT_SECONDS)


def last_seen(request: Request) -> int | None:
    """Read `Last-Event-ID`; None for a page that has seen nothing, or says nonsense."""
    given = request.headers.get("last-event-id", "")
    is_id = given.isascii() and given.isdigit() and len(given) <= LAST_ID_DIGITS_MAX
    return int(given) if is_id else None


def as_text(kind: str, data: dict[str, object], event_id: int | None) -> str:
    """Write one message as the browser's EventSource reads it."""
    identifier = "" if event_id is None else f"id: {event_id}\n"
    return f"{identifier}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
