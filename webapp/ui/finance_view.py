"""One drawing of the finance page: the balance on top, and under it usage, balance or bills.

What is looked at is all in the address, which `address` reads. Called by the routes that show the
page and by those that change something and show it again.
"""

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Query
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from licensing import payments
from licensing.db import now
from licensing.money import MICROS_PER_CENT, format_usd
from licensing.payments import Overview
from licensing.seats import Member
from webapp.studio import Studio
from webapp.ui import desk, finance_files, funds, months, payers, runway_chart, spending, wanted
from webapp.ui.funds import Outlook
from webapp.ui.wanted import BY_WORDS, By, Wanted

ROWS_ON_PAGE = 50
KEY_CHARACTERS_MAX = 200  # no project, name of a model or id is longer

MonthWords = Annotated[str, Query(max_length=7)]
Key = Annotated[str, Query(max_length=KEY_CHARACTERS_MAX)]
Before = Annotated[int | None, Query(ge=0, le=2**63 - 1)]

# What is worth seeing next, behind a row of each grouping.
NEXT = {By.MEMBER: By.DAY, By.MODEL: By.MEMBER, By.DAY: By.GENERATION}


class View(StrEnum):
    """The three parts of the page."""

    USAGE = "usage"
    BALANCE = "balance"
    BILLS = "bills"


def address(
    month: MonthWords = "",
    by: By = By.MODEL,
    model: Key = "",
    member: Key = "",
    team: Key = "",
    *,
    project: Key = "",
    cost_centre: Key = "",
    api_key: Key = "",
    day: Key = "",
    part: Annotated[int, Query(ge=1, le=20_000)] = 1,
) -> Wanted:
    """Read the address; raises `InvalidMonth` and `InvalidFilter`."""
    asked = months.parse_month(month)
    keys = (
        (By.MODEL, model),
        (By.MEMBER, member),
        (By.TEAM, team),
        (By.PROJECT, project),
        (By.COST_CENTRE, cost_centre),
        (By.API_KEY, api_key),
        (By.DAY, day),
    )
    return Wanted(asked, by, wanted.parse_filters(keys, asked), part)


Asked = Annotated[Wanted, Depends(address)]


@dataclass(frozen=True)
class _Scene:
    """What every view reads from."""

    session: Session
    studio: Studio
    own: uuid.UUID
    asked: Wanted
    before_id: int | None
    outlook: Outlook
    overview: Overview


def draw(
    session: Session,
    studio: Studio,
    reader: Member,
    asked: Wanted,
    view: View,
    *,
    before_id: int | None = None,
    paid: bool | None = None,
    news: str = "",
) -> HTMLResponse:
    """Draw the page for `reader`; `news` is what was just done, `paid` how Checkout ended."""
    own = reader.organisation_id
    wallet = funds.read_wallet(session, own)
    outlook = funds.read_outlook(session, own, wallet)
    overview = payments.overview(session, own)
    scene = _Scene(session, studio, own, asked, before_id, outlook, overview)
    return desk.fragment(
        "finance.html",
        view=str(view),
        views=[(str(one), one.capitalize()) for one in View],
        news=news,
        notices=payers.read_notices(overview, wallet, paid=paid),
        can_pay=studio.settings.payments is not None,
        asked=asked,
        month=asked.month,
        months=months.months(session, own),
        this_month=months.parse_month(""),
        today=now().date(),
        wallet=wallet,
        outlook=outlook,
        b=wallet.balance,
        By=By,
        usd_cents=usd_cents,
        **{View.USAGE: _usage, View.BALANCE: _balance, View.BILLS: _bills}[view](scene),
    )


def usd_cents(amount_micros: int) -> str:
    """Write a mean, which is no exact amount, as whole cents; below one cent exactly."""
    if abs(amount_micros) < MICROS_PER_CENT:
        return format_usd(amount_micros)
    return format_usd(amount_micros - amount_micros % MICROS_PER_CENT)


def _usage(scene: _Scene) -> dict[str, Any]:
    session, own, asked = scene.session, scene.own, scene.asked
    used = spending.read_usage(session, own, asked, now().date())
    lines = spending.read_lines(session, own, asked) if asked.by is By.GENERATION else None
    pages = lines.pages if lines else max(-(-len(used.groups) // ROWS_ON_PAGE), 1)
    part = min(asked.part, pages)
    return {
        "used": used,
        "lines": lines,
        "rows": used.groups[(part - 1) * ROWS_ON_PAGE : part * ROWS_ON_PAGE],
        "part": part,
        "pages": pages,
        "by_words": BY_WORDS,
        "next_by": NEXT.get(asked.by, By.MEMBER),
        "model_names": spending.MODEL_NAMES,
        "names": spending.names_of(session, own, asked),
    }


def _balance(scene: _Scene) -> dict[str, Any]:
    session, own = scene.session, scene.own
    return {
        "chart": runway_chart.draw(scene.outlook),
        "lots": funds.read_lots(session, own),
        "movements": funds.read_movements(session, own, before_id=scene.before_id),
        "is_older": scene.before_id is not None,
        **payers.read_balance_parts(session, scene.studio, own, scene.overview),
    }


def _bills(scene: _Scene) -> dict[str, Any]:
    return {"bills": finance_files.read_bills(scene.session, scene.own)}
