"""What a page has not been told yet: rows turned into the messages of GET /events.

One call of `catch_up` is one look at the database for one page. It asks first whether the person
may still look. The rows are the truth, so a message about a job carries the job as it is now; the
event only says that it is time to look. Called by `webapp.stream`, in a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from inference import events, generations, models, presence
from inference.events import Event
from inference.generations import Generation
from licensing import ledger
from licensing.errors import NotFound
from licensing.money import format_usd
from licensing.seats import Member
from webapp import gallery, identity
from webapp.studio import Studio

Message = tuple[str, dict[str, Any], int | None]  # kind, data, event id

_NO_WORKER = (
    "No worker is running. You can still press Generate: the job waits and starts when one comes."
)


@dataclass(frozen=True)
class News:
    """Where a page stands. `seen` is its last event; `told`, what it last heard of the studio."""

    seen: int | None
    messages: tuple[Message, ...] = ()
    told: dict[str, Any] | None = None
    is_over: bool = False
    has_more: bool = False


def catch_up(studio: Studio, request: HTTPConnection, before: News) -> News:
    """Look once: the page's next messages, and where it stands after them.

    Raises `OperationalError` while the database is away; the page is then where it was.
    """
    member = identity.current_member(studio, request)
    if member is None:
        return replace(before, messages=(("ended", {}, None),), is_over=True)
    with studio.database.read() as session:
        if before.seen is None:
            return _snapshot(session, member)
        rows = events.since(session, member.id, before.seen)
        messages = _messages(session, member, rows)
        after = replace(
            before,
            seen=rows[-1].id if rows else before.seen,
            messages=messages,
            has_more=len(rows) == events.PAGE_MAX,
        )
        # A step changes neither money nor queue, and it must reach the page at once.
        if rows and all(row.kind == "step" for row in rows):
            return after
        now = _studio(session, member)
        if now == before.told:
            return after
        return replace(after, messages=(*messages, ("studio", now, None)), told=now)


def _snapshot(session: Session, member: Member) -> News:
    """Everything that the page shows; `seen` is read first, so that nothing falls in between."""
    seen = events.last_id(session, member.id)
    first_page = gallery.page(session, member)
    jobs = {job["id"]: job for job in first_page["jobs"][:1]}
    newest = _newest(session, member)
    for job in [*generations.active(session, member), *([newest] if newest else [])]:
        jobs[str(job.id)] = _in_flight(session, job)
    now = _studio(session, member)
    data = {"jobs": list(jobs.values()), "gallery": first_page, "studio": now}
    return News(seen=seen, messages=(("snapshot", data, seen),), told=now)


def _newest(session: Session, member: Member) -> Generation | None:
    """The job that ended last without a picture, if it is newer than every picture."""
    last = events.since(session, member.id, events.last_id(session, member.id) - 1)
    if not last or last[-1].kind not in {"failed", "refused", "cancelled"}:
        return None
    return generations.access(session, member, last[-1].generation_id)


def _in_flight(session: Session, job: Generation) -> dict[str, Any]:
    """A job with what its events said last: the step, the preview, what the worker is doing."""
    described = gallery.describe(job)
    for event in events.of_generation(session, job.id):
        if event.kind in {"step", "loading", "queued"}:
            described |= event.data
    return described


def _messages(session: Session, member: Member, rows: Sequence[Event]) -> tuple[Message, ...]:
    messages: list[Message] = []
    for row in rows:
        if row.kind == "step":
            messages.append(("step", {"id": str(row.generation_id), **row.data}, row.id))
            continue
        try:
            job = gallery.describe(generations.access(session, member, row.generation_id))
        except NotFound:
            continue
        if row.kind in {"loading", "queued"}:
            job |= row.data
        messages.append(("job", {"job": job, "said": _sentence(row.kind, job)}, row.id))
    return tuple(messages)


def _sentence(kind: str, job: dict[str, Any]) -> str:
    """Say what happened, for those who hear the page."""
    ready = sum(not picture["refused"] for picture in job["pictures"])
    sentences = {
        "queued": "Waiting in the queue.",
        "started": "Started.",
        "loading": job.get("message", "The model is starting."),
        "finished": "Your picture is ready." if ready == 1 else f"{ready} pictures are ready.",
        "cancelled": "Cancelled. Nothing was charged.",
    }
    return sentences.get(kind) or job["error"] or ""


def _studio(session: Session, member: Member) -> dict[str, Any]:
    """What is not about one job: the balance, whether a worker is there, places in the queue."""
    available = ledger.balance(session, member.organisation_id).available_micros
    waiting = [job for job in generations.active(session, member) if job.state == "queued"]
    return {
        "balance": format_usd(available),
        "available_micros": available,
        "worker": None if presence.alive(session) else _NO_WORKER,
        "queue": {
            str(job.id): {
                "position": generations.queue_position(session, job.id),
                "waiting": presence.waiting_reason(session, models.find(job.model)),
            }
            for job in waiting
        },
    }
