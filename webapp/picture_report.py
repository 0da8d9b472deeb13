"""The page on which a member reports a picture that they see, to their own reviewers.

Its maker does not learn who reported it. Works without a script.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from inference import generations
from licensing import reports
from licensing.errors import AtelierError, NotFound
from licensing.reports import Report
from licensing.seats import Member
from webapp import identity, reviewing
from webapp.pages import page
from webapp.studio import Studio

Text = Annotated[str, Form()]


def routes(studio: Studio) -> APIRouter:
    """Return the routes at /pictures; each authorises itself."""
    router = APIRouter()

    @router.get("/pictures/{picture_id}/report")
    def report_form(request: Request, picture_id: str) -> Response:
        member = identity.require_member(studio, request)
        return _report_page(member, _own_picture(studio, member, picture_id))

    @router.post("/pictures/{picture_id}/report")
    def report(
        request: Request, picture_id: str, category: Text = "", statement: Text = ""
    ) -> Response:
        member = identity.require_member(studio, request)
        seen = _own_picture(studio, member, picture_id)
        try:
            made = _file(studio, member, seen, category, statement)
        except NotFound:
            raise
        except AtelierError as error:
            return _report_page(member, seen, problem=error, statement=statement)
        return _report_page(member, seen, receipt=made.receipt)

    return router


def _file(
    studio: Studio, member: Member, picture_id: uuid.UUID, category: str, statement: str
) -> Report:
    with studio.database.transaction() as session:
        target = reviewing.target_of(session, picture_id)
        if target is None:
            raise NotFound("There is no such picture.")
        return reports.file_by_member(
            session, member, target, category=category, statement=statement
        )


def _own_picture(studio: Studio, member: Member, picture_id: str) -> uuid.UUID:
    """Return the id of a picture that the member sees. Raises `NotFound`."""
    try:
        wanted = uuid.UUID(picture_id)
    except ValueError as error:
        raise NotFound("There is no such picture.") from error
    with studio.database.read() as session:
        return generations.access_picture(session, member, wanted).id


def _report_page(
    member: Member,
    picture_id: uuid.UUID,
    *,
    problem: AtelierError | None = None,
    statement: str = "",
    receipt: str = "",
) -> Response:
    return page(
        "picture_report.html",
        status=200 if problem is None else problem.status,
        picture_id=picture_id,
        categories=reports.CATEGORIES,
        problem=problem.message if problem else "",
        statement=statement,
        receipt=receipt,
        home=identity.home(member),
    )
