"""The finance page: what is left and for how long, what a month cost, and the bill as files.

Each handler asks who is there. `webapp.ui.finance_view` draws the page, `finance_tables` and
`finance_files` write what can be taken away, `finance_forms` has what can be changed. Mounted by
`webapp.app`.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI
from starlette.responses import HTMLResponse, Response

from licensing.seats import Member, Page
from webapp.studio import Studio
from webapp.ui import desk, finance_files, finance_forms, finance_tables, finance_view
from webapp.ui.finance_view import Asked, Before, View


def mount(app: FastAPI, studio: Studio) -> None:
    """Put the page and its routes at /finance."""
    desk.mount(
        app,
        studio,
        Page.FINANCE,
        routes(studio),
        title="Finance",
        scripts=("finance.js",),
        styles=("finance.css",),
    )


def routes(studio: Studio) -> APIRouter:
    """Return the routes below /finance; each authorises itself."""
    router = APIRouter(prefix="/finance")
    Reader = Annotated[Member, Depends(desk.reader(studio, Page.FINANCE))]  # noqa: N806 - a type

    @router.get("/view", response_class=HTMLResponse)
    def view(
        reader: Reader,
        asked: Asked,
        view: View = View.USAGE,
        before: Before = None,
        *,
        paid: bool | None = None,
    ) -> HTMLResponse:
        with studio.database.read() as session:
            return finance_view.draw(
                session, studio, reader, asked, view, before_id=before, paid=paid
            )

    @router.get("/table.csv", response_class=Response)
    def table(reader: Reader, asked: Asked, what: finance_tables.Table) -> Response:
        with studio.database.read() as session:
            return finance_tables.table(session, reader.organisation_id, asked, what)

    @router.get("/files/{name}", response_class=Response)
    def month_file(reader: Reader, asked: Asked, name: str) -> Response:
        return finance_files.month_file(studio.database, reader.organisation_id, asked.month, name)

    router.include_router(finance_forms.routes(studio))
    return router
