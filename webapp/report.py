"""The public form /report: anybody asks to have a picture taken down, without an account.

The answer is the same whether the picture is known here or not, and takes as long: what it fits is
looked up in the same statements either way, and the receipt says nothing of it. A file that is
brought is hashed and judged in memory and kept nowhere: what the block list and the classifier say
of it is for the reviewer, and refuses no report. Two files at a time, and so many reports an hour
from one address (`licensing.report_pace`).
"""

import hashlib
import re
import threading
import uuid
from dataclasses import asdict, dataclass

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from inference import fingerprints, holdback
from inference.safety import ImageVerdict
from inference.safety.image import ImageFilter
from inference.safety.uploads import UploadRefused, classify, fingerprint, known, open_picture
from licensing import report_pace, reports
from licensing.errors import AtelierError
from licensing.reports import Complaint, InvalidReport, Report, Target, TooManyReports
from licensing.upload_verdicts import Judgement
from webapp import review_letters, reviewing
from webapp.pages import page
from webapp.studio import Studio

PATH = "/report"
FIELDS_MAX = 8
AT_ONCE_MAX = 2
WAIT_SECONDS_MAX = 10

_ID = re.compile(r"/(?:media|pictures)/([0-9a-fA-F-]{36})(?:[/?#]|$)")


@dataclass(frozen=True)
class File:
    """What is kept of a file: its hashes (PDQ: none where it is too plain), and what was said."""

    sha256: str | None
    orientations: list[bytes]
    verdict: ImageVerdict | None


NO_FILE = File(None, [], None)


@dataclass(frozen=True)
class Looking:
    """Who looks at files, a few at a time; the classifier loads with the first one."""

    turns: threading.Semaphore
    image_filter: ImageFilter

    def at(self, content: bytes) -> File:
        """Hash and judge a picture. Raises `InvalidReport` for what is none, `TooManyReports`."""
        if not self.turns.acquire(timeout=WAIT_SECONDS_MAX):
            raise TooManyReports("Others are reporting just now. Try again in a moment.")
        try:
            image = open_picture(content).image
            sha256 = hashlib.sha256(content).hexdigest()
            return File(sha256, fingerprint(image), classify(image, self.image_filter))
        except UploadRefused as refused:
            raise InvalidReport(refused.message) from refused
        finally:
            self.turns.release()


def routes(studio: Studio) -> APIRouter:
    """Return GET and POST /report; they ask nobody who they are."""
    router = APIRouter()
    looking = Looking(threading.BoundedSemaphore(AT_ONCE_MAX), ImageFilter())

    @router.get(PATH)
    def ask() -> Response:
        return _page(studio)

    @router.post(PATH)
    async def report(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=FIELDS_MAX) as form:
            given = form.get("file")
            content = await given.read() if isinstance(given, UploadFile) else b""
            said = {name: str(value).strip() for name, value in _texts(form).items()}
        address = request.client.host if request.client else ""
        try:
            await run_in_threadpool(_count, studio, address)
            made = await run_in_threadpool(_file, studio, looking, said, content)
        except AtelierError as error:
            return _page(studio, said=said, problem=error)
        answer = _page(studio, receipt=made.receipt)
        letters = (review_letters.receipt(made),)
        answer.background = BackgroundTask(review_letters.send, studio, letters)
        return answer

    return router


def _count(studio: Studio, address: str) -> None:
    with studio.database.transaction() as session:
        report_pace.count(session, address)


def _file(studio: Studio, looking: Looking, said: dict[str, str], content: bytes) -> Report:
    if said.get("truth") != "true":
        raise InvalidReport("Confirm that what you say is true, as far as you know.")
    file = looking.at(content) if content else NO_FILE
    complaint = Complaint(
        category=said.get("category", ""),
        statement=said.get("statement", ""),
        name=said.get("name", ""),
        contact=said.get("contact", ""),
        link=said.get("link", ""),
        sha256=file.sha256,
        pdq=file.orientations[0] if file.orientations else None,
    )
    reports.require_complete(complaint)
    with studio.database.transaction() as session:
        target = _match(session, complaint, file.orientations)
        organisation_id = reports.addressee(session, target)
        verdict = known(session, file.orientations, organisation_id) or file.verdict
        judgement = None if verdict is None else Judgement(**asdict(verdict))
        return reports.file_public(session, complaint, target, judgement)


def _match(session: Session, complaint: Complaint, orientations: list[bytes]) -> Target | None:
    """Find the picture by address, by its very bytes, or by its looks. All are looked up."""
    named = _ID.search(complaint.link)
    by_link = _uuid(named[1]) if named else None
    same = holdback.by_sha256(session, complaint.sha256 or "")
    alike = fingerprints.find(session, orientations)
    for wanted in (by_link, same, *alike):
        target = reviewing.target_of(session, wanted or uuid.UUID(int=0))
        if target is not None:
            return target
    return None


def _texts(form: FormData) -> dict[str, str]:
    return {name: value.replace("\0", "") for name, value in form.items() if isinstance(value, str)}


def _uuid(words: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(words)
    except ValueError:
        return None


def _page(
    studio: Studio,
    *,
    said: dict[str, str] | None = None,
    problem: AtelierError | None = None,
    receipt: str = "",
) -> Response:
    return page(
        "report.html",
        status=200 if problem is None else problem.status,
        said=said or {},
        problem=problem.message if problem else "",
        receipt=receipt,
        categories=reports.CATEGORIES,
        has_mail=studio.settings.mail is not None,
        contact=studio.settings.safety_contact,
    )
