"""The reviewer's desk in Chromium: by keyboard, and nothing is shown that was not asked for."""

import re

import pytest
from at_bench import draw_on, judge, refuse_prompt, textured
from at_desk import assert_fits_a_phone, open_desk
from atelier_at_work import Work, agree
from factories import Team, member, team
from playwright.sync_api import BrowserContext, Page, expect
from running import Running

from licensing import decisions, seats
from licensing.cases import ReviewCase
from licensing.decisions import Order

pytestmark = pytest.mark.browser


@pytest.fixture
def crew(studio: Running) -> Team:
    return team(studio.database)


@pytest.fixture
def cases(studio: Running, crew: Team) -> list[ReviewCase]:
    """A picture that was delivered and is to be looked at, and two refused prompts."""
    maker = Work(studio, crew.creator)
    agree(maker, crew.creator)
    job = maker.finished("two people fighting")
    draw_on(maker, job, 0, textured())
    return [
        judge(maker, job, 0, "review"),
        refuse_prompt(maker, crew.creator, "words that hurt"),
        refuse_prompt(maker, crew.creator, "more of them"),
    ]


@pytest.fixture
def work(studio: Running, crew: Team) -> Work:
    return Work(studio, crew.reviewer)


@pytest.fixture
def page(context: BrowserContext, work: Work, cases: list[ReviewCase]) -> Page:
    assert cases
    return open_desk(context, work, "/review")


def test_a_picture_is_asked_for_with_a_reason_and_hidden_by_escape(
    page: Page, cases: list[ReviewCase]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    specks = page.get_by_role("img", name="Veiled picture of case")
    expect(specks).to_be_visible()
    expect(specks).to_have_js_property("complete", value=True)
    assert 0 < specks.evaluate("e => e.naturalWidth") <= 12
    page.keyboard.press("v")
    expect(page.get_by_role("radio", name="To decide this case")).to_be_focused()
    assert not [url for url in asked if url.endswith("/picture")]
    page.keyboard.press("Enter")
    picture = page.get_by_role("img", name=f"Picture of case {cases[0].id}", exact=True)
    expect(picture).to_be_visible()
    page.keyboard.press("Escape")
    expect(picture).to_be_hidden()
    page.keyboard.press("v")
    expect(picture).to_be_visible()
    expect(page.get_by_text("looked at the picture: To decide this case")).to_be_visible()


def test_cases_are_walked_and_decided_by_keys(page: Page, cases: list[ReviewCase]) -> None:
    heading = page.locator("#case-title")
    expect(heading).to_have_text(re.compile(rf"Picture {cases[0].id}"))
    page.keyboard.press("j")
    expect(heading).to_have_text(re.compile(rf"Prompt {cases[1].id}"))
    expect(heading).to_be_focused()
    page.keyboard.press("j")
    expect(heading).to_have_text(re.compile(rf"Prompt {cases[2].id}"))
    page.keyboard.press("k")
    expect(heading).to_have_text(re.compile(rf"Prompt {cases[1].id}"))
    page.keyboard.press("b")
    reason = page.get_by_label("Reason, as the person reads it")
    expect(reason).to_be_focused()
    expect(reason).to_have_value(re.compile("attacks people"))
    page.get_by_label("What the use policy calls it").select_option("sexual")
    expect(reason).to_have_value(re.compile("explicit"))
    page.keyboard.type(" b and j are letters here.")
    page.get_by_role("button", name="Block", exact=True).click()
    expect(page.get_by_text(f"Case {cases[1].id} is blocked.")).to_be_focused()
    expect(page.locator(".queue-list li")).to_have_count(2)
    assert f"case={cases[1].id}" not in page.url, "a reload does not lead back to the decided case"


def test_the_keys_are_listed(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("b")  # nothing is decided behind the list
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_cases_are_filtered_and_the_address_keeps_the_filter(page: Page) -> None:
    rows = page.locator(".queue-list li")
    expect(rows).to_have_count(3)
    page.get_by_label("Kind").select_option("prompt")
    expect(rows).to_have_count(2)
    page.reload()
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="Decided").click()
    expect(page.get_by_text("Nothing here fits.")).to_be_visible()


def test_a_decision_that_somebody_else_took_first_is_said_so(
    page: Page, cases: list[ReviewCase], work: Work
) -> None:
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="Allow case")).to_be_visible()
    decide_elsewhere(work, cases[0])
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.get_by_text("Somebody else has decided this case meanwhile.")).to_be_visible()


def decide_elsewhere(work: Work, case: ReviewCase) -> None:
    with work.running.database.transaction() as session:
        organisation = seats.get_organisation(session, case.organisation_id)
        assert organisation is not None
        other = member(session, organisation, seats.Role.REVIEWER, name="Sena Second", seated=False)
        fresh = session.merge(case)
        order = Order("block", "sexual", "It is explicit.")
        decisions.decide(session, other, fresh, order, effect="none")


def test_it_fits_a_phone_one_thing_at_a_time(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".case")).to_be_hidden()
    page.locator(".queue-list a").first.click()
    expect(page.locator(".case")).to_be_visible()
    expect(page.locator(".queue-list")).to_be_hidden()
    assert_fits_a_phone(page)
    page.get_by_role("link", name="Back to the queue").click()
    expect(page.locator(".queue-list")).to_be_visible()
    assert_fits_a_phone(page)
