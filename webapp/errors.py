"""One mapper from errors to answers: JSON for programs, a designed page for people.

AtelierError                  its own status, code and sentence
├── SignedOut                 a browser is sent to sign-in, with a sentence where it was before
└── AgreementRequired         a browser is sent to the agreements
OperationalError              503: the database does not answer
DataError                     422: a value that no column can hold, such as text with a NUL
HTTPException, validation     Starlette's status with a sentence of ours
anything else                 500: the traceback goes to the log, nothing of it to the answer
"""

import logging
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from inference.request import InvalidRequest
from licensing.agreements import AgreementRequired
from licensing.errors import AtelierError
from webapp.identity import SignedOut
from webapp.pages import page

TITLES = {
    400: "That did not work",
    401: "Sign in first",
    402: "The balance is too low",
    403: "This is not open to you",
    404: "There is nothing here",
    405: "There is nothing here",
    409: "That does not fit together",
    413: "That is too large",
    422: "Something is not right yet",
    429: "One moment, please",
    502: "The sign-in provider did not answer",
    503: "Back in a moment",
}
SENTENCES = {
    404: "The address is wrong, or what was here is gone.",
    405: "This address does not take requests of this kind.",
    422: "A field is missing or has the wrong form.",
}
OUR_FAULT = "Something broke on our side. Try again; if it stays, tell your administrator."
DATABASE_AWAY = "The database does not answer. Nothing was lost and nothing was charged; try again."

# Programs ask here with a token, whatever they say that they accept; cookies open none of it.
PROGRAM_PATHS = ("/v1/", "/scim/")
RETRY_AFTER_SECONDS = 5  # about what a picture takes, and a new part of a minute's requests

log = logging.getLogger("atelier.web")


def install(app: FastAPI) -> None:
    """Make `app` answer every error through `answer`."""
    expected = (AtelierError, OperationalError, DataError, HTTPException, RequestValidationError)
    for kind in expected:
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(Exception, answer_fault)


def answer(request: Request, error: Exception) -> Response:
    """Turn `error` into the answer that fits who asked."""
    is_person = wants_page(request)
    if is_person and isinstance(error, SignedOut):
        reason = "&reason=ended" if error.ended else ""
        return RedirectResponse(f"/login?next={_here(request)}{reason}", 303)
    if is_person and isinstance(error, AgreementRequired):
        return RedirectResponse(f"/agreements?next={_here(request)}", 303)
    status, code, message = _describe(error)
    if is_person:
        title = TITLES.get(status, "Something broke")
        return page("error.html", status=status, title=title, message=message)
    said = {"code": code, "message": _sayable(message)}
    if isinstance(error, InvalidRequest):
        said["field"] = _sayable(error.field)
    return JSONResponse({"error": said}, status, _headers(request, status))


def answer_fault(request: Request, error: Exception) -> Response:
    """Answer what nobody expected. Starlette sends this outside of all our wrappers."""
    response = answer(request, error)
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def wants_page(request: Request) -> bool:
    """Whether a person in a browser looks at the answer, rather than a script."""
    if request.url.path.startswith(PROGRAM_PATHS):
        return False
    destination = request.headers.get("sec-fetch-dest")
    if destination is not None:
        return destination == "document"
    return "text/html" in request.headers.get("accept", "")


def _sayable(words: str) -> str:
    """Repeat what somebody sent without lone halves of characters, which UTF-8 cannot write."""
    return words.encode("utf-8", "replace").decode()


def _headers(request: Request, status: int) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if request.url.path.startswith(PROGRAM_PATHS):
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Bearer realm="atelier"'
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return headers


def _describe(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, AtelierError):
        return error.status, error.code, error.message
    if isinstance(error, OperationalError):
        log.warning("the database does not answer: %s", error)
        return 503, "database_away", DATABASE_AWAY
    if isinstance(error, DataError):
        log.warning("the database refuses a value: %s", error.orig)
        return 422, "invalid_request", SENTENCES[422]
    if isinstance(error, RequestValidationError):
        return 422, "invalid_request", SENTENCES[422]
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        sentence = SENTENCES.get(error.status_code, f"{phrase}.")
        return error.status_code, phrase.lower().replace(" ", "_"), sentence
    return 500, "fault", OUR_FAULT  # ServerErrorMiddleware raises it again, so the log has it


def _here(request: Request) -> str:
    if request.method != "GET":
        return quote("/", safe="")
    query = f"?{request.url.query}" if request.url.query else ""
    return quote(f"{request.url.path}{query}", safe="")
