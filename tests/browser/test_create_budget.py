"""The creator's page says what the budget has left, when it resets, and keeps the project's tag."""

from datetime import timedelta

import pytest
from at_create import newest, open_page
from atelier_at_work import Work
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import select

from licensing import budget_limits
from licensing.budgets import Period
from licensing.db import now
from licensing.seats import Member, Role

pytestmark = pytest.mark.browser


def limit(work: Work, limit_micros: int, period: Period) -> None:
    own = Member.organisation_id == work.member.organisation_id
    with work.running.database.transaction() as session:
        admin = session.scalars(select(Member).where(own, Member.role == Role.ADMIN)).one()
        budget_limits.set_budget(
            session,
            admin,
            scope="member",
            subject_id=work.member.id,
            period=period,
            limit_micros=limit_micros,
        )


def generate(page: Page, words: str) -> None:
    page.get_by_role("textbox", name="Prompt").fill(words)
    page.get_by_role("button", name="Generate").click()


def test_the_budget_is_shown_and_its_end_is_said(context: BrowserContext, work: Work) -> None:
    limit(work, 25_000, "month")
    limit(work, 5_000_000, "day")
    page = open_page(context, work)
    first = (now().replace(day=1) + timedelta(days=31)).replace(day=1)
    reset = f"1 {first:%B}"
    lines = page.locator("#budget p")
    expect(lines).to_have_text(
        [
            "Budget $5.00 left of $5.00 a day until midnight UTC",
            f"Budget $0.025 left of $0.025 a month until {reset}",
        ]
    )
    generate(page, "a red apple")
    expect(page.locator(".stage-prompt")).to_have_text("a red apple")
    expect(lines.nth(1)).to_contain_text("Budget $0.01 left")
    expect(lines.nth(1)).to_have_class("short")
    generate(page, "a green apple")
    expect(page.get_by_role("alert")).to_have_text(
        "This costs $0.015, and $0.01 is left of your budget of $0.025 a month. $0.015 of it is "
        f"set aside for pictures in the making. It resets on {reset}. Amir Admin or Olga Owner can "
        "raise it."
    )
    work.claim(newest(work))  # out of the queue that all tests share


def test_the_project_is_remembered_and_stays_when_settings_are_reused(
    context: BrowserContext, work: Work
) -> None:
    page = open_page(context, work)
    project = page.get_by_role("textbox", name="Project")
    expect(project).to_have_value("")
    project.fill("  Autumn   campaign ")
    generate(page, "a red apple")
    expect(page.locator(".stage-prompt")).to_have_text("a red apple")
    assert newest(work).project == "Autumn campaign"
    work.finish(work.claim(newest(work)))
    page = open_page(context, work)
    project = page.get_by_role("textbox", name="Project")
    expect(project).to_have_value("Autumn campaign")
    project.fill("Winter\u200b")
    generate(page, "a green apple")
    expect(page.locator("#project-field [role=alert]")).to_have_text(
        "The project contains characters that cannot be seen."
    )
    expect(project).to_be_focused()
    project.fill("")
    generate(page, "a green apple")
    expect(page.locator(".stage-prompt")).to_have_text("a green apple")
    assert newest(work).project is None
    work.claim(newest(work))  # out of the queue that all tests share
