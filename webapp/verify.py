"""The public page /verify: bring a picture, and it says what can be proved of it.

Anybody may ask, also without an account: the page tells nothing of who made a picture or what was
typed. The file is looked at in memory and kept nowhere. Two at a time: looking for a watermark
takes a processor for a second or two.
"""

import threading

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from inference.provenance.papers import open_papers
from inference.provenance.proof import Evidence, examine
from inference.safety.uploads import UploadRefused
from inference.settings import papers_folder
from licensing.errors import AtelierError
from webapp.pages import page
from webapp.studio import Studio

PATH = "/verify"
AT_ONCE_MAX = 2
WAIT_SECONDS_MAX = 10


class Busy(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Others are being looked at."""

    code = "busy"
    status = 429


def routes(studio: Studio) -> APIRouter:
    """Return GET and POST /verify; they ask nobody who they are."""
    router = APIRouter()
    looking = threading.BoundedSemaphore(AT_ONCE_MAX)

    @router.get(PATH)
    def ask() -> Response:
        return page("verify.html", evidence=None, name="", problem="")

    @router.post(PATH)
    async def verify(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=0) as form:
            given = form.get("file")
            if not isinstance(given, UploadFile) or not given.filename:
                return _refuse("", "Choose a file.", 422)
            name, content = given.filename, await given.read()
        try:
            evidence = await run_in_threadpool(_examine, studio, looking, content)
        except (UploadRefused, Busy) as error:
            return _refuse(name, error.message, error.status)
        return page("verify.html", evidence=evidence, name=name, problem="")

    return router


def _refuse(name: str, problem: str, status: int) -> Response:
    return page("verify.html", status=status, evidence=None, name=name, problem=problem)


def _examine(studio: Studio, looking: threading.Semaphore, content: bytes) -> Evidence:
    if not looking.acquire(timeout=WAIT_SECONDS_MAX):
        raise Busy("Others are being looked at just now. Try again in a moment.")
    try:
        return examine(content, open_papers(papers_folder(studio.settings.state)))
    finally:
        looking.release()
