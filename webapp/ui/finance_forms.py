"""What can be changed on the finance page: top up, automatic top-up, card, warning, refund.

Each form asks one verb of `webapp.payments`, which checks who asks. A form that leads away to the
payment provider is answered with an address as JSON, for the page's script to go to: the browser
may not follow a form's answer to another site. The others are answered with the page drawn anew.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.responses import HTMLResponse, JSONResponse

from licensing import payments as paying
from licensing.errors import NotFound
from licensing.money import parse_usd, read_usd
from licensing.payments import (
    TOP_UP_MICROS_MAX,
    TOP_UP_MICROS_MIN,
    TOP_UP_PRESETS_MICROS,
    PaymentLine,
)
from licensing.seats import Member, Page
from webapp import payments
from webapp.studio import Studio
from webapp.ui import desk, finance_view, payers
from webapp.ui.finance_view import Asked, View
from webapp.ui.wanted import Wanted

Amount = Annotated[str, Form(max_length=20)]


def routes(studio: Studio) -> APIRouter:
    """Return the routes below /finance that change something, and their sheets."""
    router = APIRouter(default_response_class=HTMLResponse)
    Payer = Annotated[Member, Depends(desk.reader(studio, Page.FINANCE))]  # noqa: N806 - a type

    @router.get("/top-up")
    def top_up_sheet(payer: Payer) -> HTMLResponse:
        return _top_up_sheet(studio, payer)

    @router.post("/top-up")
    def top_up(
        payer: Payer,
        amount: Amount,
        other: Amount = "",
        save_card: Annotated[bool, Form()] = False,  # noqa: FBT002 - a check box of a form
    ) -> JSONResponse:
        micros = read_usd(other if amount == "other" else amount)
        return _away(payments.start_top_up(studio, payer, micros, save_card=save_card))

    @router.post("/card")
    def save_card(payer: Payer) -> JSONResponse:
        return _away(payments.save_card(studio, payer))

    @router.post("/card/remove")
    def remove_card(
        payer: Payer, asked: Asked, card_id: Annotated[str, Form(max_length=200)]
    ) -> HTMLResponse:
        payments.remove_card(studio, payer, card_id)
        return _drawn(studio, payer, asked, "The card is forgotten.")

    @router.post("/notices/{notice_id}/dismiss")
    def dismiss(payer: Payer, asked: Asked, notice_id: int) -> HTMLResponse:
        payments.dismiss_notice(studio, payer, notice_id)
        return _drawn(studio, payer, asked, "It will not be shown again.")

    @router.get("/payments/{payment_id}/refund")
    def refund_sheet(payer: Payer, payment_id: uuid.UUID) -> HTMLResponse:
        found = _payment(studio, payer, payment_id)
        return desk.fragment(
            "finance_refund.html", payment=found, key=uuid.uuid4(), plain=payers.dollars
        )

    @router.post("/payments/{payment_id}/refund")
    def refund(
        payer: Payer,
        asked: Asked,
        payment_id: uuid.UUID,
        amount: Amount,
        reason: Annotated[str, Form(max_length=400)],
        *,
        key: Annotated[uuid.UUID, Form()],
    ) -> HTMLResponse:
        payments.refund(studio, payer, payment_id, parse_usd(amount), reason=reason, key=key)
        return _drawn(studio, payer, asked, "It is on its way back to the card.")

    _add_automatic(router, studio)
    return router


def _add_automatic(router: APIRouter, studio: Studio) -> None:
    Payer = Annotated[Member, Depends(desk.reader(studio, Page.FINANCE))]  # noqa: N806 - a type

    @router.get("/automatic")
    def automatic_sheet(payer: Payer) -> HTMLResponse:
        return _automatic_sheet(studio, payer)

    @router.post("/automatic")
    def automatic(
        payer: Payer, asked: Asked, threshold: Amount, amount: Amount, ceiling: Amount
    ) -> HTMLResponse:
        payments.set_automatic(
            studio,
            payer,
            threshold_micros=read_usd(threshold),
            amount_micros=read_usd(amount),
            monthly_ceiling_micros=parse_usd(ceiling),
        )
        return _drawn(studio, payer, asked, "Automatic top-up is on.")

    @router.post("/automatic/stop")
    def stop_automatic(payer: Payer, asked: Asked) -> HTMLResponse:
        payments.stop_automatic(studio, payer)
        return _drawn(studio, payer, asked, "Automatic top-up is off.")

    @router.post("/alert")
    def alert(payer: Payer, asked: Asked, alert: Amount = "") -> HTMLResponse:
        payments.set_alert(studio, payer, parse_usd(alert) if alert.strip() else None)
        words = "The warning is set." if alert.strip() else "Nobody will be told any more."
        return _drawn(studio, payer, asked, words)


def _top_up_sheet(studio: Studio, payer: Member) -> HTMLResponse:
    with studio.database.read() as session:
        overview = paying.overview(session, payer.organisation_id)
    settings = studio.settings.payments
    return desk.fragment(
        "finance_top_up.html",
        presets=TOP_UP_PRESETS_MICROS,
        least=TOP_UP_MICROS_MIN,
        most=TOP_UP_MICROS_MAX,
        card=overview.card,
        is_standin=settings is not None and settings.is_standin,
    )


def _automatic_sheet(studio: Studio, payer: Member) -> HTMLResponse:
    with studio.database.read() as session:
        overview = paying.overview(session, payer.organisation_id)
    known = overview.automatic
    values = {
        "threshold": payers.dollars(known.threshold_micros) if known else "10",
        "amount": payers.dollars(known.amount_micros) if known else "25",
        "ceiling": payers.dollars(known.monthly_ceiling_micros) if known else "100",
        "alert": payers.dollars(overview.alert_micros) if overview.alert_micros else "",
    }
    return desk.fragment(
        "finance_automatic_form.html", card=overview.card, automatic=known, values=values
    )


def _payment(studio: Studio, payer: Member, payment_id: uuid.UUID) -> PaymentLine:
    with studio.database.read() as session:
        known = paying.payment_lines(session, payer.organisation_id, limit=payers.PAYMENTS_SHOWN)
    found = next((one for one in known if one.id == payment_id), None)
    if found is None:
        raise NotFound("There is no such payment, or it is too old to be paid back here.")
    return found


def _drawn(studio: Studio, payer: Member, asked: Wanted, news: str) -> HTMLResponse:
    with studio.database.read() as session:
        return finance_view.draw(session, studio, payer, asked, View.BALANCE, news=news)


def _away(url: str) -> JSONResponse:
    return JSONResponse({"url": url}, headers={"Cache-Control": "no-store"})
