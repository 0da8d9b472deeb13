"""/v1/generations: submit, read, list and cancel a generation; its pictures as files."""

import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Query
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse

from inference import generations, history
from inference.generations import IN_FLIGHT, Generation, Picture
from inference.request import InvalidRequest
from licensing.errors import NotFound
from webapp import generate
from webapp.api.caller import Caller
from webapp.studio import Studio

LISTED, LISTED_MAX = 24, 60
KEY_CHARACTERS_MAX = 128  # of the caller's idempotency key; ours stands before it in the row
FIELD_SHOWN_MAX = 40  # of a field's name that we do not know
FIELDS = frozenset({"prompt", "model", "width", "height", "images", "seed", "project", "adapters"})
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp"}


def routes(studio: Studio, who: Callable[[Request], Caller]) -> APIRouter:
    """Return the routes; each asks `who` calls by itself."""
    router = APIRouter(prefix="/v1/generations")
    By = Annotated[Caller, Depends(who)]  # noqa: N806 - a type

    @router.post("")
    def submit(
        by: By,
        fields: Annotated[dict[str, Any], Body()],
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> JSONResponse:
        require_known(fields)
        if idempotency_key is not None and not 1 <= len(idempotency_key) <= KEY_CHARACTERS_MAX:
            words = f"An Idempotency-Key has 1 to {KEY_CHARACTERS_MAX} characters."
            raise InvalidRequest("idempotency_key", words)
        # Without a key of the caller's own, each request is a new job.
        once = f"api:{by.key.id}:{idempotency_key}" if idempotency_key else f"api:{uuid.uuid4()}"
        job = generate.submit(studio, by.member, fields, once, api_key_id=by.key.id)
        headers = {"Location": f"/v1/generations/{job.id}", "Cache-Control": "no-store"}
        return JSONResponse(describe(job), 202, headers)

    @router.get("")
    def listing(
        by: By,
        state: Literal["finished", "in_flight"] = "finished",
        before: uuid.UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
    ) -> dict[str, Any]:
        with studio.database.read() as session:
            if state == "in_flight":
                waiting = [describe(job) for job in generations.active(session, by.member)]
                return {"generations": waiting, "next": None}
            found = history.page(session, by.member, before=before, limit=limit + 1)
            shown = [describe(job) for job in found[:limit]]
        has_more = len(found) > limit
        return {"generations": shown, "next": shown[-1]["id"] if has_more else None}

    @router.get("/{generation_id}")
    def read(by: By, generation_id: str) -> dict[str, Any]:
        with studio.database.read() as session:
            job = generations.access(session, by.member, generate.job_id(generation_id))
            place = generations.queue_position(session, job.id) if job.state == "queued" else None
            return {**describe(job), "queue_position": place}

    @router.post("/{generation_id}/cancel")
    def cancel(by: By, generation_id: str) -> dict[str, Any]:
        generate.cancel(studio, by.member, generation_id)
        return read(by, generation_id)

    @router.get("/{generation_id}/pictures/{index}")
    def picture(by: By, generation_id: str, index: int) -> FileResponse:
        return _file(studio, by, generation_id, index, is_thumbnail=False)

    @router.get("/{generation_id}/pictures/{index}/thumbnail")
    def thumbnail(by: By, generation_id: str, index: int) -> FileResponse:
        return _file(studio, by, generation_id, index, is_thumbnail=True)

    return router


def require_known(fields: dict[str, Any]) -> None:
    """Refuse a field that would do nothing: it is a slip of the pen, and pictures cost money."""
    unknown = sorted(set(fields) - FIELDS)
    if unknown:
        name, known = unknown[0][:FIELD_SHOWN_MAX], ", ".join(sorted(FIELDS))
        raise InvalidRequest(name, f"There is no field “{name}”. Known: {known}.")


def describe(job: Generation) -> dict[str, Any]:
    """Return a job as programs read it; amounts in microdollars, times in ISO 8601, UTC."""
    asked, is_finished = job.asked, job.state == "finished"
    return {
        "id": str(job.id),
        "state": job.state,
        "model": job.model,
        "prompt": asked.prompt,
        "width": asked.width,
        "height": asked.height,
        "images": asked.images,
        "seed": asked.seed,
        "adapters": [{"lora": use.sha256, "strength": use.strength} for use in asked.adapters],
        "project": job.project,
        "steps_done": job.steps_done,
        "steps_total": job.steps_total,
        "held_micros": job.price_micros if job.state in IN_FLIGHT else 0,
        "charged_micros": job.charged_micros,
        "created_at": job.created_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "error": {"code": job.error_code, "message": job.error_message} if job.error_code else None,
        "pictures": [_picture(job, each) for each in job.pictures] if is_finished else [],
    }


def _picture(job: Generation, made: Picture) -> dict[str, Any]:
    address = f"/v1/generations/{job.id}/pictures/{made.index}"
    return {
        "index": made.index,
        "seed": made.seed,
        "width": made.width,
        "height": made.height,
        "refused": made.refused,
        "sha256": None if made.refused else made.sha256,
        "url": None if made.refused else address,
        "thumbnail_url": None if made.refused else f"{address}/thumbnail",
    }


def _file(
    studio: Studio, by: Caller, generation_id: str, index: int, *, is_thumbnail: bool
) -> FileResponse:
    with studio.database.read() as session:
        job = generations.access(session, by.member, generate.job_id(generation_id))
        made = next((each for each in job.pictures if each.index == index), None)
        if made is None or made.refused:
            raise NotFound("There is no such picture.")
        key = made.thumbnail_key if is_thumbnail else made.key
    path = studio.storage.path(key) if key else None
    if path is None or not path.is_file():
        raise NotFound("There is no such picture.")
    headers = {"Cache-Control": "private, no-store"}
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=headers)
