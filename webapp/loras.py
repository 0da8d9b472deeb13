"""The page /loras: a team's LoRAs with how each one stands; brought, named and removed here.

Whatever changes a LoRA is asked by `licensing.adapters`; another team's looks missing. Only the
upload needs a script, because a browser's own form cannot send a large file as it is.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from inference import adapter_files, models, presence
from licensing import adapters, policy_words, seats
from licensing.adapters import Adapter
from licensing.errors import AtelierError, NotFound
from licensing.seats import Member, Page
from webapp import bringing, identity
from webapp.pages import page
from webapp.studio import Studio

QUERY_CHARACTERS_MAX = 400

Text = Annotated[str, Form()]
Asked = Annotated[str, Query(max_length=QUERY_CHARACTERS_MAX)]

NO_WORKER = "No worker is running for its models. The check waits for one."

WORDS = {
    "checking": "Checking",
    "ready": "Ready",
    "review": "In review",
    "refused": "Refused",
    "removed": "Removed",
}
LAYOUTS = {
    "peft": "PEFT",
    "official": "Krea’s own",  # noqa: RUF001
    "comfyui": "ComfyUI",
    "kohya": "kohya",
    "lokr": "LoKr",
}


def routes(studio: Studio) -> APIRouter:
    """Return the routes at /loras; each authorises itself."""
    router = APIRouter(prefix="/loras")
    door = bringing.Door(studio)

    @router.get("")
    def shelf(request: Request) -> Response:
        return _page(studio, identity.require_member(studio, request))

    @router.get("/list")
    def listing(request: Request) -> dict[str, Any]:
        member = identity.require_member(studio, request)
        with studio.database.read() as session:
            return {"loras": read(session, member)}

    @router.post("/file")
    async def bring(request: Request, name: Asked = "", triggers: Asked = "") -> Response:
        member = await run_in_threadpool(identity.require_member, studio, request)
        length = request.headers.get("content-length")
        adapter = await door.bring(
            member,
            request.stream(),
            stated=int(length) if length else None,
            name=name,
            triggers=triggers,
        )
        told = {"id": str(adapter.id), "sha256": adapter.sha256, "state": adapter.state}
        return JSONResponse(told, 201)

    @router.post("/uploaders")
    def open_to(request: Request, everybody: Text = "") -> Response:
        member = identity.require_member(studio, request)
        with studio.database.transaction() as session:
            adapters.open_to(session, member, everybody=everybody == "yes")
        return RedirectResponse("/loras", 303)

    @router.post("/{adapter_id}/name")
    def rename(request: Request, adapter_id: str, name: Text = "") -> Response:
        member = identity.require_member(studio, request)
        try:
            with studio.database.transaction() as session:
                adapters.rename(session, member, adapter_id, name=name)
        except NotFound:
            raise
        except AtelierError as error:
            return _page(studio, member, problem=(adapter_id, error))
        return RedirectResponse(f"/loras#lora-{adapter_id}", 303)

    @router.post("/{adapter_id}/remove")
    def remove(request: Request, adapter_id: str) -> Response:
        member = identity.require_member(studio, request)
        with studio.database.transaction() as session:
            gone = adapters.remove(session, member, adapter_id)
        bringing.files_of(studio).drop(studio.database, gone.sha256)
        return RedirectResponse("/loras", 303)

    return router


def read(session: Session, member: Member) -> list[dict[str, Any]]:
    """Return the team's LoRAs as the pages draw them."""
    shelf = adapters.shelf(session, member.organisation_id)
    query = select(Member.id, Member.name).where(
        Member.id.in_({adapter.uploader_id for adapter in shelf})
    )
    people = {row.id: row.name for row in session.execute(query)}
    is_admin = seats.may(member.role, Page.TEAM)
    served = presence.served(session) if any(one.state == "checking" for one in shelf) else set()
    return [
        {
            **describe(adapter, is_served=adapter.family in served),
            "uploader": people.get(adapter.uploader_id, ""),
            "is_mine": is_admin or adapter.uploader_id == member.id,
            "is_uploader": adapter.uploader_id == member.id,
        }
        for adapter in shelf
    ]


def describe(adapter: Adapter, *, is_served: bool) -> dict[str, Any]:
    """Return one LoRA for a page; `is_served` says whether a worker is there that can check it."""
    waits = adapter.problem or ("" if is_served else NO_WORKER)
    return {
        "id": str(adapter.id),
        "name": adapter.name,
        "triggers": adapter.triggers,
        "sha256": adapter.sha256,
        "megabytes": f"{adapter.bytes / 1e6:,.1f}",
        "layout": LAYOUTS.get(adapter.layout, adapter.layout),
        "layers": adapter.layers,
        "rank": adapter.rank,
        "family": adapter.family,
        "fits": [model.name for model in models.CATALOGUE if model.worker_class == adapter.family],
        "state": adapter.state,
        "state_word": WORDS[adapter.state],
        "sentence": waits if adapter.state == "checking" else adapter.reason or "",
        "category": policy_words.name(adapter.category) if adapter.category else "",
        "has_verdict": adapter.verdict_id is not None,
        "brought": f"{adapter.created_at:%-d %B %Y}",
    }


def _page(
    studio: Studio, member: Member, *, problem: tuple[str, AtelierError] | None = None
) -> Response:
    with studio.database.read() as session:
        loras = read(session, member)
        obstacle = adapters.may_bring(session, member)
        everybody = adapters.opened_to_all(session, member.organisation_id)
    return page(
        "loras.html",
        status=problem[1].status if problem else 200,
        loras=loras,
        obstacle=obstacle,
        everybody=everybody,
        is_admin=seats.may(member.role, Page.TEAM),
        problem_at=problem[0] if problem else "",
        problem=problem[1].message if problem else "",
        is_full=len(loras) >= adapters.COUNT_MAX,
        count_max=adapters.COUNT_MAX,
        name_max=adapters.NAME_CHARACTERS_MAX,
        triggers_max=adapters.TRIGGERS_CHARACTERS_MAX,
        bytes_max=adapter_files.FILE_BYTES_MAX,
        home=identity.home(member),
    )
