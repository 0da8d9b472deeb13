"""The reviewer's page in Chromium: nothing is shown that was not asked for."""

import pytest
from at_desk import assert_fits_a_phone, open_desk
from atelier_at_work import Work, agree
from factories import Team, team
from playwright.sync_api import BrowserContext, Locator, Page, expect
from running import Running

from licensing import moderation

pytestmark = pytest.mark.browser


@pytest.fixture
def crew(studio: Running) -> Team:
    """A team with a refused prompt, and a picture that its reviewer should look at."""
    made = team(studio.database)
    maker = Work(studio, made.creator)
    agree(maker, made.creator)
    job = maker.finished("two people fighting")
    with studio.database.transaction() as session:
        for subject, index, category in (("prompt", None, "hate"), ("image", 0, "sexual")):
            moderation.record(
                session,
                organisation_id=made.id,
                member_id=made.creator.id,
                generation_id=None if index is None else job.id,
                picture_index=index,
                subject=subject,
                action="block" if index is None else "review",
                category=category,
                source="test",
                excerpt="words that hurt" if index is None else "two people fighting",
            )
    return made


@pytest.fixture
def work(studio: Running, crew: Team) -> Work:
    return Work(studio, crew.reviewer)


@pytest.fixture
def page(context: BrowserContext, work: Work) -> Page:
    return open_desk(context, work, "/review")


def veil(page: Page) -> str:
    picture = page.get_by_role("img", name="Picture of case")
    style: str = picture.evaluate("e => getComputedStyle(e).filter")
    return style


def test_a_picture_is_blurred_until_asked_for_by_key_and_hidden_by_escape(page: Page) -> None:
    picture = page.locator(".veil img")
    expect(picture).to_be_visible()
    page.wait_for_function("document.querySelector('.veil img').naturalWidth > 0")
    assert "blur" in veil(page)
    button = page.get_by_role("button", name="Show picture")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Hide picture", pressed=True)).to_be_focused()
    assert veil(page) == "none"
    page.keyboard.press("Escape")
    expect(button).to_be_visible()
    assert "blur" in veil(page)


def test_cases_are_filtered_and_the_address_keeps_the_filter(page: Page) -> None:
    cases: Locator = page.locator(".case")
    expect(cases).to_have_count(2)
    page.get_by_role("link", name="Prompts 1", exact=True).click()
    expect(cases).to_have_count(1)
    expect(cases).to_contain_text("words that hurt")
    page.get_by_role("link", name="Prompts and pictures").click()
    expect(cases).to_have_count(2)
    page.get_by_role("link", name="Sexual").click()
    for _ in range(2):
        expect(cases).to_have_count(1)
        expect(cases).to_contain_text("two people fighting")
        page.reload()


def test_it_fits_a_phone(page: Page) -> None:
    assert_fits_a_phone(page)
