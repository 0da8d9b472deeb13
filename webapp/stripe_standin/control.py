"""The control page: what Stripe, banks and time do to us, done by hand or by a test.

Every act answers a browser with the page and a program with JSON. Acts: hold and deliver messages
(late, in another order), send one again, forged or with an old signature, decline the next
payments, open and close disputes, fail a refund, pay an invoice by bank transfer, advance time.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from webapp.errors import wants_page
from webapp.pages import page
from webapp.payment_settings import STANDIN_PATH
from webapp.stripe_standin import clock, disputes, refunds
from webapp.stripe_standin.cards import DECLINES
from webapp.stripe_standin.postman import Postman
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, Store

PATH = f"{STANDIN_PATH}/control"
SHOWN_MAX = 30  # rows of each table
TIMES_MAX = 50  # how often one act may be repeated
OLD_SIGNATURE_SECONDS = 3600  # the SDK takes signatures of the last 300 seconds
WRONG_SECRET = "whsec_nobody"  # noqa: S105 - forged on purpose

Signed = Literal["right", "wrong", "old"]
Times = Annotated[int, Form(ge=1, le=TIMES_MAX)]


def router(store: Store, postman: Postman) -> APIRouter:
    """Return the control page and its acts."""
    desk = Control(store, postman)
    made = APIRouter(prefix="/control", include_in_schema=False)
    made.add_api_route("", desk.show, methods=["GET"])
    for path, act in (
        ("/hold", desk.hold),
        ("/deliver", desk.deliver),
        ("/send", desk.send),
        ("/declines", desk.decline),
        ("/advance", desk.advance),
        ("/disputes", desk.dispute),
        ("/disputes/{dispute}", desk.decide),
        ("/refunds/{refund}/fail", desk.fail_refund),
    ):
        made.add_api_route(path, act, methods=["POST"])
    return made


class Control:
    """The acts, and the store and the postman that they share with the API."""

    def __init__(self, store: Store, postman: Postman) -> None:
        self._store = store
        self._postman = postman

    async def show(self, request: Request) -> Response:
        """Show what there is and what can be done to it."""
        clock.catch_up(self._store)
        self._store.save()
        shown: dict[str, Any] = {
            "now": self._store.now(),
            "ahead_seconds": self._store.ahead_seconds,
            "is_holding": self._store.is_holding,
            "declines": self._store.declines,
            "messages": self._messages(),
            "charges": self._newest("charge"),
            "disputes": self._newest("dispute"),
            "refunds": self._newest("refund"),
            "invoices": self._newest("invoice"),
        }
        if not wants_page(request):
            return JSONResponse(shown)
        at = datetime.fromtimestamp(self._store.now(), UTC)
        return page(
            "stripe_control.html",
            path=PATH,
            reasons=list(DECLINES),
            clock=f"{at:%-d %b %Y, %H:%M} UTC",
            **shown,
        )

    async def hold(self, request: Request, on: Annotated[bool, Form()]) -> Response:
        """Keep new messages back, or let them go at once again (what is held stays held)."""
        self._store.is_holding = on
        return self._done(request, {"is_holding": on})

    async def deliver(
        self,
        request: Request,
        order: Annotated[Literal["oldest", "newest"], Form()] = "oldest",
        type: Annotated[str, Form()] = "",  # noqa: A002 - as Stripe names it
    ) -> Response:
        """Bring what is held, in this order; with `type`, only events of that type."""
        held = [m for m in self._messages(None) if m["status"] == "held"]
        held = [m for m in held if type in ("", m["type"])]
        sent = []
        for message in held if order == "newest" else reversed(held):
            status = await self._postman.bring(message["id"])
            sent.append({"event": message["event"], "type": message["type"], "status": status})
        return self._done(request, {"sent": sent})

    async def send(
        self,
        request: Request,
        event: Annotated[str, Form()],
        times: Times = 1,
        signed: Annotated[Signed, Form()] = "right",
    ) -> Response:
        """Send one event again: a duplicate, or one that must not be believed."""
        found = self._find("event", event)
        secret = WRONG_SECRET if signed == "wrong" else None
        ago = OLD_SIGNATURE_SECONDS if signed == "old" else 0
        statuses = [
            (await self._postman.send(found, secret=secret, seconds_ago=ago))[0]
            for _ in range(times)
        ]
        return self._done(request, {"statuses": statuses})

    async def decline(
        self, request: Request, reason: Annotated[str, Form()], times: Times = 1
    ) -> Response:
        """Let the next payments be declined, whatever their card."""
        if reason not in DECLINES:
            raise StripeProblem(f"A reason is one of {', '.join(DECLINES)}.", param="reason")
        self._store.declines += [reason] * times
        return self._done(request, {"declines": self._store.declines})

    async def advance(
        self,
        request: Request,
        days: Annotated[int, Form(ge=0)] = 0,
        seconds: Annotated[int, Form(ge=0)] = 0,
    ) -> Response:
        """Put the stand-in's clock forward; what falls due happens, in its order."""
        clock.advance(self._store, days * 24 * 3600 + seconds)
        return self._done(request, {"now": self._store.now()})

    async def dispute(
        self,
        request: Request,
        charge: Annotated[str, Form()],
        *,
        inquiry: Annotated[bool, Form()] = False,
    ) -> Response:
        """Let the payer dispute a charge (its id, or its payment intent's), or only ask."""
        found = self._store.objects.get(charge, {})
        if found.get("object") == "payment_intent":
            charge = found["latest_charge"]
        opened = disputes.open_dispute(
            self._store, self._find("charge", charge), is_inquiry=inquiry
        )
        return self._done(request, opened)

    async def decide(
        self,
        request: Request,
        dispute: str,
        outcome: Annotated[Literal["won", "lost", "escalated"], Form()],
    ) -> Response:
        """Close a dispute as won or lost, or let an inquiry become one."""
        found = self._find("dispute", dispute)
        if outcome == "escalated":
            disputes.escalate(self._store, found)
        else:
            disputes.close(self._store, found, is_won=outcome == "won")
        return self._done(request, found)

    async def fail_refund(self, request: Request, refund: str) -> Response:
        """Let the bank send a refund back."""
        found = self._find("refund", refund)
        refunds.fail(self._store, found)
        return self._done(request, found)

    def _done(self, request: Request, answer: dict[str, Any]) -> Response:
        self._store.save()
        self._postman.ring()
        return RedirectResponse(PATH, 303) if wants_page(request) else JSONResponse(answer)

    def _find(self, kind: str, object_id: str) -> Object:
        return self._store.find(kind, object_id)

    def _newest(self, kind: str) -> list[Object]:
        return self._store.all(kind)[: -SHOWN_MAX - 1 : -1]

    def _messages(self, most: int | None = SHOWN_MAX) -> list[Object]:
        """Return messages with their events' types, newest first."""
        found = self._store.messages[::-1][:most]
        return [{**m, "type": self._store.objects[m["event"]]["type"]} for m in found]
