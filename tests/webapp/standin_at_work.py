"""The stand-in for Stripe without a studio around it: the real SDK, and a webhook that listens."""

import re
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import stripe
from fastapi import FastAPI
from running import free_port, serve
from starlette.requests import Request
from starlette.responses import Response

from webapp.payment_settings import STANDIN_KEY, STANDIN_PATH, WEBHOOK_PATH
from webapp.settings import Settings, read_settings
from webapp.stripe_standin.app import build_stripe_standin

OK = "4242 4242 4242 4242"
DECLINED = "4000 0000 0000 0002"
CONFIRMED = "4000 0025 0000 3155"
DISPUTED = "4000 0000 0000 0259"


@dataclass
class Listener:
    """A webhook that verifies with the SDK and remembers; `refusing` answers come first."""

    secret: str
    events: list[stripe.Event] = field(default_factory=list)
    forged: int = 0
    refusing: int = 0
    came: threading.Event = field(default_factory=threading.Event)

    async def hear(self, request: Request) -> Response:
        payload = await request.body()
        try:
            event = stripe.Webhook.construct_event(
                payload, request.headers.get("stripe-signature"), self.secret
            )
        except stripe.SignatureVerificationError:
            self.forged += 1
            return Response("not Stripe's", 400)
        if self.refusing:
            self.refusing -= 1
            return Response("not now", 503)
        self.events.append(event)
        self.came.set()
        return Response("ok")

    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def last(self, event_type: str) -> Any:
        """Return the object of the newest event of a type."""
        return [event for event in self.events if event.type == event_type][-1].data.object


@dataclass
class Standin:
    """A running stand-in. Messages are held; `deliver` brings them to `listener`."""

    settings: Settings
    client: stripe.StripeClient
    listener: Listener
    http: httpx2.Client

    def control(self, act: str = "", **fields: object) -> Any:
        """Do one act of the control page, or read it."""
        url = f"{STANDIN_PATH}/control{act}"
        answer = self.http.post(url, data=fields) if act else self.http.get(url)
        return answer.json()

    def deliver(self, **fields: object) -> list[str]:
        """Bring what is held; return what the listener has heard by now."""
        self.control("/deliver", **fields)
        return self.listener.types()

    def pay(self, url: str, number: str) -> httpx2.Response:
        """Pay on a Checkout page as a browser does."""
        shown = self.http.get(url)
        assert shown.status_code == 200, shown.text
        action = re.search(r'action="([^"]+)"', shown.text)
        assert action is not None, shown.text
        return self.http.post(action[1], data={"number": number})


def open_standin(stack: ExitStack, state: Path, port: int | None = None) -> Standin:
    """Start a stand-in whose state lies in `state`; it stops with `stack`."""
    port = port or free_port()
    settings = read_settings({"ATELIER_PORT": str(port), "ATELIER_STATE": str(state)})
    standin = build_stripe_standin(settings)
    assert settings.payments is not None
    listener = Listener(settings.payments.webhook_secret)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with standin.router.lifespan_context(standin):
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount(STANDIN_PATH, standin)
    app.add_api_route(WEBHOOK_PATH, listener.hear, methods=["POST"])
    stack.enter_context(serve(app, port))
    http = stack.enter_context(httpx2.Client(base_url=settings.url, trust_env=False, timeout=30))
    started = Standin(settings, client_of(settings), listener, http)
    started.control("/hold", on=True)
    return started


def client_of(settings: Settings, key: str = STANDIN_KEY) -> stripe.StripeClient:
    """Return the real SDK, pointed at the stand-in."""
    assert settings.payments is not None
    base = settings.payments.api_base
    assert base is not None
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=0)
