"""The finance page: the balance with its top-ups, a month of usage, and the bill as a file.

Four things can be chosen, all in the address: the month, how usage is grouped, one member, and the
page. Mounted by `webapp.app`; each handler asks who is there.
"""

import uuid
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query
from starlette.responses import HTMLResponse, Response

from licensing import bills
from licensing.db import now
from licensing.seats import Member, Page
from webapp.studio import Studio
from webapp.ui import desk, figures
from webapp.ui.figures import ROWS_ON_PAGE, Month, Usage

MONTH_CHARACTERS_MAX = 7


class Grouping(StrEnum):
    """How the table of usage is grouped."""

    MEMBER = "member"
    DAY = "day"
    BOTH = "both"


MonthWords = Annotated[str, Query(max_length=MONTH_CHARACTERS_MAX)]


def mount(app: FastAPI, studio: Studio) -> None:
    """Put the page and its routes at /finance."""
    desk.mount(app, studio, Page.FINANCE, routes(studio), title="Finance")


def routes(studio: Studio) -> APIRouter:
    """Return the routes below /finance; each authorises itself."""
    router = APIRouter(prefix="/finance")
    Reader = Annotated[Member, Depends(desk.reader(studio, Page.FINANCE))]  # noqa: N806 - a type

    @router.get("/view", response_class=HTMLResponse)
    def view(
        reader: Reader,
        month: MonthWords = "",
        by: Grouping = Grouping.MEMBER,
        *,
        member: uuid.UUID | None = None,
        part: Annotated[int, Query(ge=1, le=10_000)] = 1,
        topups: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    ) -> HTMLResponse:
        asked = figures.parse_month(month)
        with studio.database.read() as session:
            used = figures.read_usage(session, reader.organisation_id, asked, member_id=member)
            wallet = figures.read_wallet(session, reader.organisation_id, before_id=topups)
            months = figures.months(session, reader.organisation_id)
            totals = bills.month_totals(session, reader.organisation_id, asked.year, asked.number)
        return _draw(
            asked,
            by,
            part,
            used=used,
            member_id=member,
            wallet=wallet,
            months=months,
            totals=totals,
            is_older=topups is not None,
        )

    @router.get("/usage.csv", response_class=Response)
    def usage_csv(reader: Reader, month: MonthWords = "") -> Response:
        asked = figures.parse_month(month)
        with studio.database.read() as session:
            content = bills.usage_csv(session, reader.organisation_id, asked.year, asked.number)
        return Response(
            content.encode("utf-8-sig"),  # the mark by which spreadsheets know the encoding
            media_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="atelier-usage-{asked}.csv"',
                "Cache-Control": "no-store",
            },
        )

    return router


def _draw(
    asked: Month,
    by: Grouping,
    page: int,
    *,
    used: Usage,
    member_id: uuid.UUID | None,
    **values: object,
) -> HTMLResponse:
    if member_id is not None:
        by = Grouping.DAY if by is Grouping.MEMBER else by
    rows = {Grouping.MEMBER: used.members, Grouping.DAY: used.days, Grouping.BOTH: used.both}[by]
    pages = max(-(-len(rows) // ROWS_ON_PAGE), 1)
    page = min(page, pages)
    this_month = figures.parse_month("")
    return desk.fragment(
        "finance.html",
        month=asked,
        is_this_month=asked == this_month,
        has_later=asked < this_month,
        today=now().date(),
        used=used,
        most=max((row.amount_micros for row in rows), default=0) or 1,  # what bars are held against
        rows=rows[(page - 1) * ROWS_ON_PAGE : page * ROWS_ON_PAGE],
        by=by,
        page=page,
        pages=pages,
        member_id=member_id,
        member_name=used.members[0].member_name if member_id and used.members else "this member",
        **values,
    )
