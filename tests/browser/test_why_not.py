"""The creator reads in a sentence why nothing can be generated, where they wanted to do it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from at_create import open_page
from at_desk import become, open_desk
from atelier_at_work import Work
from playwright.sync_api import BrowserContext, Page, expect

from licensing import licence, model_switches, roster, seats
from licensing.db import now
from licensing.seats import Member, Organisation, Role

pytestmark = pytest.mark.browser

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def switched_off(work: Work) -> None:
    with work.running.database.transaction() as session:
        if not licence.is_off(session, "pocket-turbo"):
            model_switches.switch(
                session,
                "pocket-turbo",
                "revoked",
                reason="A fault was found in its filter.",
                given_by="Olga",
            )


@pytest.fixture(autouse=True)
def _all_on_again(context: BrowserContext, work: Work) -> Iterator[None]:  # noqa: ARG001 - first
    yield
    with work.running.database.transaction() as session:
        for model_id in model_switches.revoked(session):
            model_switches.switch(session, model_id, "restored", reason="Test", given_by="Test")


@pytest.mark.usefixtures("switched_off")
def test_a_model_that_is_off_says_so_before_anything_is_sent(
    context: BrowserContext, work: Work
) -> None:
    page = open_page(context, work)
    told = page.locator("#why-not .notice")
    expect(told).to_contain_text("switched off on")
    expect(told).to_contain_text("A fault was found in its filter. Choose another model")
    page.get_by_role("textbox", name="Prompt").fill("a red apple")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#model-error")).to_contain_text("A fault was found in its filter.")
    page.locator("#model summary").click()
    page.get_by_text("Pocket Raw", exact=True).click()
    expect(told).to_have_count(0)
    fits(page)


def test_a_model_without_its_statement_says_what_to_do(context: BrowserContext, work: Work) -> None:
    page = open_page(context, work)
    expect(page.locator("#why-not .notice")).to_have_count(0)
    page.locator("#model summary").click()
    card = page.locator(".choice-card", has_text="Krea 2 Turbo")
    expect(card).to_contain_text("An owner can make it under /licence")


def test_who_can_renew_the_statement_is_told_on_every_page(
    context: BrowserContext, work: Work
) -> None:
    owner = owner_of(work)
    with work.running.database.transaction() as session:  # the operator's is the one founded first
        mine = session.get_one(Organisation, owner.organisation_id)
        mine.created_at -= timedelta(days=400)
        licence.attest(
            session,
            "below_threshold",
            given_by="Olga",
            author_id=None,
            at=now() - timedelta(days=345),
        )
    become(context, work.running, owner)
    page = open_desk(context, work, "/team")
    told = page.locator("#site-banner .notice")
    expect(told).to_contain_text("holds until")
    fits(page)
    with work.running.database.transaction() as session:
        licence.withdraw(session, given_by="Olga", author_id=None, reason="We grew")
    for path in ("/team", "/finance"):
        page = open_desk(context, work, path)
        expect(page.locator("#site-banner .notice")).to_contain_text("was taken back: We grew.")
    page.set_viewport_size(NARROW)
    fits(page)
    page.get_by_role("link", name="Read and make the statement").click()
    page.wait_for_url("**/licence")
    become(context, work.running, work.member)
    page = open_page(context, work)
    expect(
        page.locator(".site-account")
    ).to_be_visible()  # it came with the banner, if there is one
    expect(page.locator("#site-banner .notice")).to_have_count(0)
    with work.running.database.transaction() as session:
        licence.attest(session, "demonstration", given_by="Test", author_id=None)


def test_who_lost_their_seat_reads_whom_to_ask(context: BrowserContext, work: Work) -> None:
    with work.running.database.transaction() as session:
        roster.revoke_seat(session, owner_of(work), work.member.id)
    page = open_page(context, work)
    expect(page.locator("#why-not .notice")).to_contain_text("An admin of your organisation can")
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        fits(page)


def owner_of(work: Work) -> Member:
    with work.running.database.read() as session:
        members = seats.members(session, work.member.organisation_id)
    return next(member for member in members if member.role == Role.OWNER)


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
