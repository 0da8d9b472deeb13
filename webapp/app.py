"""The only wiring: settings in, the whole web application out.

Imports the pages, and with them Gradio; nothing but the web process imports this module. Outside
in, a request passes: headers, guard (host, origin, size), closed CORS, door (session, role, kill
switch), then a route or a page.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from inference.queue import create_celery
from inference.storage import Storage
from licensing.db import connect
from webapp import (
    agreements,
    errors,
    gallery,
    health,
    identity,
    keys,
    licence,
    loras,
    media,
    payments,
    picture_report,
    refusals,
    report,
    stream,
    stripe_webhook,
    verify,
)
from webapp.api import v1
from webapp.door import Door, Streams, watch
from webapp.payment_settings import STANDIN_PATH
from webapp.reminders import keep_reminding
from webapp.scim.application import build_scim
from webapp.scim.service import PATH as SCIM_PATH
from webapp.security import Guard, ResponseHeaders
from webapp.settings import DEMO_PATH, Settings, SettingsProblem
from webapp.sso import backchannel, sign_in
from webapp.sso.demo_provider import build_demo_provider
from webapp.sso.renewal import keep_renewing, renewing_clients
from webapp.stripe_standin.app import build_stripe_standin
from webapp.studio import Studio, studio_of

# Before the page library is imported: it would report starts and look for newer versions.
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", GRADIO_MCP_SERVER="False")

STATIC = Path(__file__).parent / "ui" / "static"


def create_app(settings: Settings, *, with_pages: bool = True) -> FastAPI:
    """Build the studio for `settings`; raises `SettingsProblem` where something is missing.

    Without its pages it imports no Gradio: enough to try sign-in, media and streams.
    """
    problem = health.rules_problem()
    if problem is not None:
        raise SettingsProblem(f"{problem} Reinstall Atelier.")
    studio = build_studio(settings)
    streams = Streams()
    has_standin = settings.payments is not None and settings.payments.is_standin
    standin = build_stripe_standin(settings) if has_standin else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(watch(studio, streams)),
            asyncio.create_task(keep_renewing(studio, app.state.clients)),
            asyncio.create_task(payments.keep_paying(studio)),
            asyncio.create_task(keep_reminding(studio)),
        ]
        # A mounted application's own lifespan is run by nobody but us.
        async with standin.router.lifespan_context(standin) if standin else nullcontext():
            yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        studio.database.dispose()

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.studio = studio
    app.state.clients = renewing_clients(settings, studio.database)
    _add_routes(app, studio)
    if standin is not None:
        app.mount(STANDIN_PATH, standin)
    if with_pages:
        _add_pages(app, studio)
    errors.install(app)
    # The last one added stands outermost.
    app.add_middleware(Door, studio=studio, streams=streams)
    app.add_middleware(CORSMiddleware, allow_origins=[settings.url])
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(ResponseHeaders, settings=settings)
    return app


def build_studio(settings: Settings) -> Studio:
    """Connect the studio to its database, files and queue; nothing is opened yet."""
    if settings.database_url is None or settings.broker_url is None:
        raise SettingsProblem(
            "DATABASE_URL and BROKER_URL are needed here; `atelier up` brings a database and a "
            "broker of its own."
        )
    return Studio(
        settings=settings,
        database=connect(settings.database_url),
        storage=Storage(settings.state / "pictures"),
        celery=create_celery(settings.broker_url),
    )


def _add_routes(app: FastAPI, studio: Studio) -> None:
    for module in (health, sign_in, backchannel, agreements, licence, stripe_webhook):
        app.include_router(module.router)
    for routed in (
        stream,
        media,
        gallery,
        keys,
        loras,
        refusals,
        picture_report,
        verify,
        report,
        v1,
    ):
        app.include_router(routed.routes(studio))
    app.add_api_route("/", _home)
    # The page library links this address from every page.
    app.add_api_route("/manifest.json", _manifest, include_in_schema=False)
    app.mount("/static", RevalidatedFiles(directory=STATIC))
    app.mount(SCIM_PATH, build_scim(studio))
    if studio.settings.has_demo_provider:
        base_url = f"{studio.settings.url}{DEMO_PATH}"
        app.mount(DEMO_PATH, build_demo_provider(studio.settings, base_url))


def _add_pages(app: FastAPI, studio: Studio) -> None:
    from webapp.ui import create, finance, review, team  # noqa: PLC0415 - after the environment

    for page in (create, team, finance, review):
        page.mount(app, studio)


def _home(request: Request) -> Response:
    """Lead to the page that this person works on."""
    return RedirectResponse(
        identity.home(identity.require_member(studio_of(request), request)), 303
    )


def _manifest() -> Response:
    return FileResponse(STATIC / "manifest.json", media_type="application/manifest+json")


class RevalidatedFiles(StaticFiles):
    """Static files that a browser keeps and asks about each time: modules import by plain name."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Serve a file with a short word to the browser's cache."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response
