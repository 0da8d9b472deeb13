"""Builds the stand-in: its API for the SDK, its pages for people, and its postman.

It takes any test card for money, so it must never answer anybody but this machine: it refuses to
be built where the settings name Stripe itself or any address but loopback, and each request must
come from loopback.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from licensing.errors import Conflict
from webapp import errors
from webapp.payment_settings import STANDIN_PATH, WEBHOOK_PATH
from webapp.security import LoopbackOnly
from webapp.settings import Settings, SettingsProblem, is_loopback
from webapp.stripe_standin import api, checkout_pages, control, prices
from webapp.stripe_standin.postman import Postman
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Store

FILE = "stripe-standin.json"  # in the state folder


def build_stripe_standin(settings: Settings) -> FastAPI:
    """Build the stand-in at `settings.url`/stripe-standin; raises `SettingsProblem` elsewhere.

    Its lifespan runs the postman; a studio that mounts it enters that lifespan with its own.
    """
    payments = settings.payments
    if payments is None or not payments.is_standin:
        raise SettingsProblem("The stand-in for Stripe does not run beside Stripe.")
    if not (is_loopback(settings.host) and is_loopback(urlsplit(settings.url).hostname or "")):
        raise SettingsProblem(
            "The stand-in for Stripe takes any test card, so it answers on loopback alone: set "
            "STRIPE_SECRET_KEY to a key of Stripe's before ATELIER_HOST or ATELIER_URL."
        )
    store = Store(settings.state / FILE, f"{settings.url}{STANDIN_PATH}")
    prices.seed(store)
    store.save()
    postman = Postman(store, f"{settings.url}{WEBHOOK_PATH}", payments.webhook_secret)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        working = asyncio.create_task(postman.work())
        yield
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await postman.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(api.router(store, postman))
    app.include_router(checkout_pages.router(store, postman))
    app.include_router(control.router(store, postman))
    app.add_middleware(LoopbackOnly, name="The stand-in for Stripe")
    errors.install(app)
    app.add_exception_handler(StripeProblem, _tell)
    return app


async def _tell(request: Request, problem: Exception) -> Response:
    """Answer an act of the control page that cannot be done."""
    assert isinstance(problem, StripeProblem)
    if errors.wants_page(request):
        return errors.answer(request, Conflict(problem.message))
    return JSONResponse(problem.as_json(), problem.status)
