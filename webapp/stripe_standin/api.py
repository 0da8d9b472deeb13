"""The face to the SDK: one request in, Stripe's JSON out.

Checks the key, reads the form, honours Idempotency-Key, calls the handler of `routes`, saves the
store and lets the postman know. Runs on the event loop, one request after the other, so handlers
need no lock.
"""

import base64
import binascii
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from webapp.payment_settings import STANDIN_KEY
from webapp.stripe_standin import clock
from webapp.stripe_standin.fields import FIELDS_MAX, Fields, decode
from webapp.stripe_standin.postman import Postman
from webapp.stripe_standin.problems import CardProblem, KeyReused, StripeProblem, WrongKey
from webapp.stripe_standin.routes import ROUTES, Handler
from webapp.stripe_standin.store import Object, Store, expanded, new_id

IDEMPOTENCY_KEY_MAX = 255  # Stripe's own
KEY_SECONDS = 24 * 3600  # how long an answer is given again; Stripe's own
# Answers that are given again for the same key; what was refused unread may be tried again.
KEPT_STATUSES = (200, 402)

log = logging.getLogger("atelier.stripe_standin")


def router(store: Store, postman: Postman) -> APIRouter:
    """Return the routes of `ROUTES`, each answering in Stripe's way."""
    made = APIRouter()
    for address, handler in ROUTES.items():
        method, path = address.split(" ")
        endpoint = _endpoint(store, postman, handler)
        made.add_api_route(path, endpoint, methods=[method], include_in_schema=False)
    made.add_api_route("/v1/{rest:path}", _unknown, methods=["GET", "POST", "DELETE"])
    return made


async def _unknown(request: Request) -> Response:
    rest = request.path_params["rest"]
    return _answer(
        StripeProblem(
            f"The stand-in for Stripe does not know {request.method} /v1/{rest}; "
            "webapp/stripe_standin/routes.py lists what it answers."
        )
    )


def _endpoint(
    store: Store, postman: Postman, handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        sent = await request.body() or request.url.query.encode()
        try:
            _require_key(request)
            body = _text(sent)
            answer = _once(store, request, handler, body)
        except StripeProblem as problem:
            store.forget()
            return _answer(problem)
        store.save()
        postman.ring()
        return answer

    return endpoint


def _once(store: Store, request: Request, handler: Handler, body: str) -> Response:
    """Carry a request out, or answer as it was answered the first time."""
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    if key is None:
        return JSONResponse(_carry_out(store, request, handler, body))
    if len(key) > IDEMPOTENCY_KEY_MAX:
        raise StripeProblem("An idempotency key has 255 characters at most.")
    asked = hashlib.sha256(f"{request.url.path}\n{body}".encode()).hexdigest()
    earlier = store.answers.get(key)
    if earlier is None or earlier["at"] + KEY_SECONDS <= store.now():
        store.answers.pop(key, None)  # the newest stands last: the oldest are forgotten first
        status, answer = _attempt(store, request, handler, body)
        if status in KEPT_STATUSES:
            store.answers[key] = {
                "asked": asked,
                "at": store.now(),
                "status": status,
                "answer": answer,
            }
        return JSONResponse(answer, status)
    if earlier["asked"] != asked:
        raise KeyReused(
            f"The idempotency key {key} was used before with another request; a key belongs to "
            "one request and its repetitions."
        )
    return JSONResponse(
        earlier["answer"], earlier["status"], {"Idempotent-Replayed": "true", **_request_id()}
    )


def _attempt(store: Store, request: Request, handler: Handler, body: str) -> tuple[int, Object]:
    try:
        return 200, _carry_out(store, request, handler, body)
    except CardProblem as problem:
        return problem.status, problem.as_json()


def _carry_out(store: Store, request: Request, handler: Handler, body: str) -> Object:
    fields = _fields(body)
    clock.catch_up(store)
    events_before = len(store.messages)
    answer = handler(store, fields, **request.path_params)
    _sign_events(store, store.messages[events_before:], request)
    paths = fields.get("expand", [])
    return expanded(store, answer, paths if isinstance(paths, list) else [paths])


def _sign_events(store: Store, messages: list[Object], request: Request) -> None:
    """Write into the events which request caused them."""
    key = request.headers.get("idempotency-key")
    for message in messages:
        store.objects[message["event"]]["request"] = {"id": new_id("req"), "idempotency_key": key}


def _text(sent: bytes) -> str:
    try:
        return sent.decode()
    except UnicodeDecodeError:
        raise StripeProblem("The request's form is not UTF-8.") from None


def _fields(body: str) -> Fields:
    try:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise StripeProblem("The request's form cannot be read.") from None
    return decode(pairs)


def _require_key(request: Request) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given).decode().split(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            given = ""
    if given != STANDIN_KEY:
        raise WrongKey(
            f"This is a stand-in for Stripe on this machine; its key is {STANDIN_KEY}. A key of "
            "Stripe's own must never be sent here."
        )


def _answer(problem: StripeProblem) -> Response:
    log.info("refused: %s", problem.message)
    return JSONResponse(problem.as_json(), problem.status, _request_id())


def _request_id() -> dict[str, Any]:
    return {"Request-Id": new_id("req")}
