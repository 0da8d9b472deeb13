"""What a member made, as the page reads it: a job with its settings, price and pictures as JSON.

`describe` is the one shape of a job for the page; the live stream and the paged gallery both send
it. Only finished jobs are in the gallery. Called by `webapp.stream`; GET /gallery is its own route.
"""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session

from inference import generations, models
from inference.generations import Generation, Picture
from licensing.money import format_usd
from licensing.seats import Member
from webapp import identity
from webapp.studio import Studio

JOBS_ON_PAGE = 24  # about three screens of strips; the next page comes when it is asked for
JOBS_ON_PAGE_MAX = 60

_NAMES = {model.id: model.name for model in models.CATALOGUE}


def routes(studio: Studio) -> APIRouter:
    """Return GET /gallery, which authorises itself."""
    router = APIRouter()

    @router.get("/gallery")
    def gallery(
        request: Request,
        before: uuid.UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=JOBS_ON_PAGE_MAX)] = JOBS_ON_PAGE,
    ) -> dict[str, Any]:
        member = identity.require_member(studio, request)
        with studio.database.read() as session:
            return page(session, member, before=before, limit=limit)

    return router


def page(
    session: Session,
    member: Member,
    *,
    before: uuid.UUID | None = None,
    limit: int = JOBS_ON_PAGE,
) -> dict[str, Any]:
    """Return `{"jobs": [...], "next": id}`: the member's own finished jobs, newest first.

    `next` is what the following page takes as `before`; None on the last page.
    """
    found = generations.page(session, member, before=before, limit=limit + 1)
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
        "price": format_usd(job.charged_micros if is_finished else job.price_micros),
        "created_at": job.created_at.isoformat(),
        "seconds": round(took.total_seconds(), 1) if took else None,
        "step": job.steps_done,
        "steps": job.steps_total,
        "cancelling": job.state == "running" and job.cancel_requested_at is not None,
        "error": job.error_message,
        "pictures": [_picture(picture) for picture in job.pictures] if is_finished else [],
    }


def _picture(picture: Picture) -> dict[str, Any]:
    return {
        "id": str(picture.id),
        "seed": picture.seed,
        "width": picture.width,
        "height": picture.height,
        "refused": picture.refused,
    }
