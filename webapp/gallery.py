"""What a member made: read a page at a time, searched, starred and deleted, as JSON for the page.

`describe` is the one shape of a job for the page; the live stream and the paged gallery both send
it. Only finished jobs are in the gallery. Called by `webapp.stream`; the routes authorise
themselves.
"""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session, object_session

from inference import history, models, shelf
from inference.generations import Generation, Picture
from licensing import adapters
from licensing.money import format_usd
from licensing.seats import Member
from webapp import generate, identity
from webapp.studio import Studio

JOBS_ON_PAGE = 24  # about three screens of strips; the next page comes when it is asked for
JOBS_ON_PAGE_MAX = 60
SEARCH_CHARACTERS_MAX = 200  # a search is a few words of a prompt
SEARCH_WORDS_MAX = 12  # each is one more condition on every row

_NAMES = {model.id: model.name for model in models.CATALOGUE}


def routes(studio: Studio) -> APIRouter:
    """Return GET /gallery and the verbs on one job of it."""
    router = APIRouter(prefix="/gallery")

    @router.get("")
    def gallery(
        request: Request,
        before: uuid.UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=JOBS_ON_PAGE_MAX)] = JOBS_ON_PAGE,
        words: Annotated[str, Query(max_length=SEARCH_CHARACTERS_MAX)] = "",
        *,
        starred: bool = False,
    ) -> dict[str, Any]:
        member = identity.require_member(studio, request)
        wanted = [word.replace("\0", "") for word in words.split()[:SEARCH_WORDS_MAX]]
        with studio.database.read() as session:
            return page(
                session, member, before=before, limit=limit, words=wanted, is_starred=starred
            )

    @router.put("/{generation_id}/star")
    def star(request: Request, generation_id: str) -> dict[str, Any]:
        return _star(studio, request, generation_id, is_starred=True)

    @router.delete("/{generation_id}/star")
    def unstar(request: Request, generation_id: str) -> dict[str, Any]:
        return _star(studio, request, generation_id, is_starred=False)

    @router.delete("/{generation_id}")
    def delete(request: Request, generation_id: str) -> dict[str, int]:
        member = identity.require_member(studio, request)
        wanted = generate.job_id(generation_id)
        with studio.database.transaction() as session:
            erased = shelf.delete(session, member, wanted)
        for key in erased.keys:  # after the commit; `inference.orphans` removes what a crash left
            studio.storage.delete(key)
        return {"pictures": erased.pictures}

    return router


def _star(
    studio: Studio, request: Request, generation_id: str, *, is_starred: bool
) -> dict[str, Any]:
    member = identity.require_member(studio, request)
    wanted = generate.job_id(generation_id)
    with studio.database.transaction() as session:
        return describe(shelf.star(session, member, wanted, is_starred=is_starred))


def page(
    session: Session,
    member: Member,
    *,
    before: uuid.UUID | None = None,
    limit: int = JOBS_ON_PAGE,
    words: Sequence[str] = (),
    is_starred: bool = False,
) -> dict[str, Any]:
    """Return `{"jobs": [...], "next": id}`: the member's own finished jobs, newest first.

    `next` is what the following page takes as `before`; None on the last page. `words` and
    `is_starred` narrow it as `history.page` says.
    """
    found = history.page(
        session, member, before=before, limit=limit + 1, words=words, is_starred=is_starred
    )
    shown = found[:limit]
    return {
        "jobs": [describe(job) for job in shown],
        "next": str(shown[-1].id) if len(found) > limit else None,
    }


def describe(job: Generation) -> dict[str, Any]:
    """Return a job as the page draws it. A finished one needs its pictures loaded."""
    asked = job.asked
    is_finished = job.state == "finished"
    took = job.finished_at - job.started_at if job.finished_at and job.started_at else None
    return {
        "id": str(job.id),
        "state": job.state,
        "prompt": asked.prompt,
        "model": job.model,
        "model_name": _NAMES.get(job.model, job.model),
        "width": asked.width,
        "height": asked.height,
        "images": asked.images,
        "seed": asked.seed,
        "loras": _loras(job),
        "price": format_usd(job.charged_micros if is_finished else job.price_micros),
        "created_at": job.created_at.isoformat(),
        "seconds": round(took.total_seconds(), 1) if took else None,
        "step": job.steps_done,
        "steps": job.steps_total,
        "cancelling": job.state == "running" and job.cancel_requested_at is not None,
        "error": job.error_message,
        "starred": job.starred_at is not None,
        "deleted": job.is_erased,
        "pictures": [_picture(picture) for picture in job.pictures] if is_finished else [],
    }


def _loras(job: Generation) -> list[dict[str, Any]]:
    """The LoRAs of a job by the names that the team gives them now, also if they are gone."""
    uses, session = job.asked.adapters, object_session(job)
    if not uses or session is None:
        return []
    names = adapters.named(session, job.organisation_id, [use.sha256 for use in uses])
    return [
        {"name": names.get(use.sha256, use.sha256[:12]), "strength": use.strength} for use in uses
    ]


def _picture(picture: Picture) -> dict[str, Any]:
    return {
        "id": str(picture.id),
        "seed": picture.seed,
        "width": picture.width,
        "height": picture.height,
        "refused": picture.refused,
    }
