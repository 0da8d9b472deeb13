"""Budgets on the team page: what a day and a month may cost, for one or for everybody."""

import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form
from starlette.responses import HTMLResponse

from licensing import budget_limits, budgets, seats, teams
from licensing.budgets import Period
from licensing.errors import NotFound
from licensing.money import parse_limit_usd, plain_usd
from licensing.seats import Member, Page
from webapp.studio import Studio
from webapp.ui import desk, team_reads, team_view
from webapp.ui.team_view import View

AMOUNT_CHARACTERS_MAX = 16

Amount = Annotated[str, Form(max_length=AMOUNT_CHARACTERS_MAX)]
EditedScope = Literal["organisation_default", "team", "member"]


def routes(studio: Studio) -> APIRouter:
    """Return the routes on budgets; each authorises itself."""
    router = APIRouter(default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.get("/budgets/{scope}/{subject}")
    def budget_sheet(actor: Admin, scope: EditedScope, subject: str) -> HTMLResponse:
        subject_id = _subject(scope, subject)
        with studio.database.read() as session:
            limits = team_reads.limits_of(session, actor.organisation_id, scope, subject_id)
            name = _name(studio, actor, scope, subject_id)
            standing = (
                budgets.budgets_of(session, member_id=subject_id)
                if scope == "member" and subject_id
                else []
            )
        return desk.fragment(
            "team_budget.html",
            scope=scope,
            subject=subject,
            name=name,
            limits=limits,
            standing=standing,
            plain=plain_usd,
        )

    @router.post("/budgets/{scope}/{subject}")
    def set_budget(
        actor: Admin, scope: EditedScope, subject: str, day: Amount = "", month: Amount = ""
    ) -> HTMLResponse:
        subject_id = _subject(scope, subject)
        amounts: dict[Period, int | None] = {
            "day": parse_limit_usd(day) if day.strip() else None,
            "month": parse_limit_usd(month) if month.strip() else None,
        }
        with studio.database.transaction() as session:
            for period, amount in amounts.items():
                budget_limits.set_budget(
                    session,
                    actor,
                    scope=scope,
                    subject_id=subject_id,
                    period=period,
                    limit_micros=amount,
                )
        name = _name(studio, actor, scope, subject_id)
        return team_view.draw(
            studio, actor, View.GROUPS, news=f"The budget of {name} is set; it holds at once."
        )

    return router


def _name(studio: Studio, actor: Member, scope: str, subject_id: uuid.UUID | None) -> str:
    if subject_id is None:
        return "everybody without one of their own"
    with studio.database.read() as session:
        if scope == "team":
            return teams.get(session, actor.organisation_id, subject_id).name
        member = seats.get_member(session, subject_id)
    if member is None or member.organisation_id != actor.organisation_id:
        raise NotFound("There is no such member.")
    return member.name


def _subject(scope: str, subject: str) -> uuid.UUID | None:
    return None if scope == "organisation_default" else _id(subject)


def _id(words: str) -> uuid.UUID:
    try:
        return uuid.UUID(words)
    except ValueError as error:
        raise NotFound("There is nothing at this address.") from error
