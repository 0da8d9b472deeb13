"""Plan and seats on the team page: what is bought, what more would cost, and who waits.

Seats are paid for by an owner: more at once, fewer at the end of the period. A change is previewed
with its price by the payment provider before it is ordered.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.responses import HTMLResponse, JSONResponse

from licensing.errors import AtelierError
from licensing.seats import Member, Page
from webapp import payments
from webapp.studio import Studio
from webapp.ui import desk, team_view
from webapp.ui.team_view import View

SEATS_MAX = 10**6
TIER_CHARACTERS_MAX = 32
# What is said to whoever comes back from the provider's page (/team?seats=1 or 0).
NEWS = {
    True: "Thank you. The seats are there as soon as the payment has arrived, mostly at once.",
    False: "Nothing was bought.",
}


def routes(studio: Studio) -> APIRouter:
    """Return the routes on the plan; each authorises itself."""
    router = APIRouter(default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type
    Seats = Annotated[int, Form(ge=0, le=SEATS_MAX)]  # noqa: N806 - a type
    Tier = Annotated[str, Form(max_length=TIER_CHARACTERS_MAX)]  # noqa: N806 - a type

    @router.post("/plan/subscribe", response_class=JSONResponse)
    def subscribe(actor: Admin, seats: Seats, tier: Tier) -> dict[str, str]:
        return {"url": payments.subscribe(studio, actor, tier=tier, seats=seats)}

    @router.post("/plan/seats")
    def change(
        actor: Admin, seats: Seats, proration_at: Annotated[int, Form(ge=0)]
    ) -> HTMLResponse:
        done = payments.change_seats(studio, actor, seats=seats, proration_at=proration_at)
        when = "from now on" if done.when == "now" else f"from {desk.day(done.effective_at)} on"
        news = f"You have {seats:,} {'seat' if seats == 1 else 'seats'} {when}."
        return team_view.draw(studio, actor, View.PLAN, news=news)

    @router.post("/plan/keep")
    def keep(actor: Admin) -> HTMLResponse:
        payments.keep_seats(studio, actor)
        return team_view.draw(studio, actor, View.PLAN, news="Nothing changes: the seats stay.")

    return router


def draw(studio: Studio, actor: Member, wanted: int) -> HTMLResponse:
    """Draw the plan with what `wanted` seats would cost, or the sentence that says why not."""
    try:
        preview = payments.preview_seats(studio, actor, seats=wanted)
        problem = ""
    except AtelierError as error:
        preview, problem = None, error.message
    return team_view.draw(
        studio, actor, View.PLAN, over={"preview": preview, "problem": problem, "wanted": wanted}
    )
