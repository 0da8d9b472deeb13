"""A creator among their pictures: found again, starred, seen large, tried anew, deleted."""

import re

import pytest
from at_create import open_page
from atelier_at_work import Work
from playwright.sync_api import APIResponse, BrowserContext, Locator, Page, Route, expect

pytestmark = pytest.mark.browser


def prompt(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Prompt")


def strips(page: Page) -> Locator:
    return page.locator(".strip .strip-prompt")


def search(page: Page) -> Locator:
    return page.get_by_role("searchbox", name="Search your prompts")


def test_a_search_finds_old_prompts_and_goes_away_again(
    context: BrowserContext, work: Work
) -> None:
    for words in ("a red fox", "שועל אדום", "赤い狐", "a green tree"):
        work.finished(words)
    page = open_page(context, work)
    page.locator("body").press("/")
    expect(search(page)).to_be_focused()
    for words in ("FOX red", "אדום", "狐"):
        search(page).fill(words)
        expect(strips(page)).to_have_count(1)
    search(page).fill("zebra")
    expect(page.locator(".gallery-none")).to_have_text("No prompt of yours has these words.")
    search(page).fill("")
    expect(strips(page)).to_have_count(3)  # the newest of the four stands above


def test_a_star_is_kept_and_seen_in_a_second_tab(context: BrowserContext, work: Work) -> None:
    work.finished("an old fox")
    work.finished("a new fox")
    page, second = open_page(context, work), open_page(context, work)
    page.locator(".stage").get_by_role("button", name="Star").click()
    page.locator(".strip").get_by_role("button", name="Star").click()
    for tab in (page, second):
        expect(
            tab.locator("[aria-pressed=true].star, [aria-pressed=true].strip-star")
        ).to_have_count(2)
    second.reload()
    second.get_by_role("button", name="Starred").click()
    expect(strips(second)).to_have_text(["a new fox", "an old fox"])
    second.locator(".strip").first.get_by_role("button", name="Star").click()
    expect(second.locator(".strip [aria-pressed=true]")).to_have_count(1)


def test_the_viewer_walks_all_pictures_and_fetches_older_ones(
    context: BrowserContext, work: Work
) -> None:
    for number in range(26):
        work.finished(f"picture {number:02}")
    page = open_page(context, work)
    page.locator(".stage .picture").click()
    viewer = page.get_by_role("dialog")
    expect(viewer.locator(".viewer-place")).to_have_text("1 of 24 and more")
    expect(viewer.get_by_role("button", name="Previous")).to_be_disabled()
    for number in range(24, -1, -1):
        page.keyboard.press("ArrowRight")
        expect(viewer.locator(".viewer-prompt")).to_have_text(f"picture {number:02}")
    expect(viewer.get_by_role("button", name="Next")).to_be_disabled()
    page.keyboard.press("s")
    expect(viewer.get_by_role("button", name="Star")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowLeft")
    expect(viewer.locator(".viewer-prompt")).to_have_text("picture 01")


def test_deleting_asks_once_says_what_stays_and_goes_on(
    context: BrowserContext, work: Work
) -> None:
    for words in ("a first fox", "a second fox", "a third fox"):
        work.finished(words, images=2)
    page, other = open_page(context, work), open_page(context, work)
    page.get_by_role("button", name="a second fox").first.click()
    viewer, asked = page.locator(".viewer"), page.locator(".removal")
    page.keyboard.press("Delete")
    expect(asked).to_contain_text("What they cost, $0.03, stays on the bill.")
    expect(asked.get_by_role("button", name="Keep")).to_be_focused()
    page.keyboard.press("Escape")
    expect(viewer.locator(".viewer-prompt")).to_have_text("a second fox")
    page.keyboard.press("Delete")
    asked.get_by_role("button", name="Delete 2 pictures").click()
    expect(viewer.locator(".viewer-prompt")).to_have_text("a first fox")
    page.keyboard.press("Escape")
    for tab in (page, other):
        expect(strips(tab)).to_have_text(["a first fox"])
    page.locator(".stage").get_by_role("button", name="Delete").click()
    asked.get_by_role("button", name="Delete 2 pictures").click()
    for tab in (page, other):
        expect(tab.locator(".stage-prompt")).to_have_text("a first fox")
    page.locator(".stage").get_by_role("button", name="Delete").click()
    asked.get_by_role("button", name="Delete 2 pictures").click()
    expect(page.get_by_role("heading", name="Your first picture")).to_be_visible()
    assert work.balance().settled_micros == 10_000_000 - 90_000, "what they cost stays"


def test_the_event_of_a_deletion_may_come_before_its_answer(
    context: BrowserContext, work: Work
) -> None:
    for words in ("a first fox", "a second fox"):
        work.finished(words)
    page = open_page(context, work)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/gallery/*", lambda route: held.append((route, route.fetch())))
    page.locator(".stage .picture").first.click()
    viewer, asked = page.locator(".viewer"), page.locator(".removal")
    page.keyboard.press("Delete")
    asked.get_by_role("button", name="Delete the picture").click()
    expect(viewer.locator(".viewer-prompt")).to_have_text("a first fox")
    expect(asked).to_be_hidden()
    page.keyboard.press("Delete")
    expect(asked).to_contain_text("Delete this picture for good?")
    for route, answer in held:
        route.fulfill(response=answer)
    expect(page.locator(".feed-said")).to_have_text("The picture is deleted.")
    expect(asked).to_be_visible()  # it asks about the next one


def test_another_seed_is_tried_with_one_more_press(context: BrowserContext, work: Work) -> None:
    work.finished("a red fox", images=2, width=256, height=192, seed=5)
    page = open_page(context, work)
    page.get_by_role("button", name="Try another seed").click()
    expect(prompt(page)).to_have_value("a red fox")
    expect(page.get_by_role("textbox", name="Seed")).to_have_value("")
    expect(page.get_by_role("button", name="Generate")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".stage[data-state=queued]")).to_be_visible()
    expect(page.locator(".stage-prompt")).to_have_text("a red fox")
    expect(page.locator(".stage .facts")).not_to_contain_text(re.compile(r"seed 5\b"))


def test_the_page_begins_where_the_last_job_was(context: BrowserContext, work: Work) -> None:
    work.submit("a red fox", model="pocket-raw", width=336, height=192, images=3, project="Zoo")
    page = open_page(context, work)
    expect(page.locator("#model .chosen")).to_have_text("Pocket Raw")
    expect(page.get_by_role("textbox", name="Width")).to_have_value("336")
    expect(page.get_by_role("radio", name="3", exact=True)).to_be_checked()
    expect(page.get_by_role("textbox", name="Project")).to_have_value("Zoo")
    expect(page.locator("#price")).to_have_text("$0.09 for 3 pictures")


def test_a_half_written_prompt_survives_a_reload_and_old_ones_come_back(
    context: BrowserContext, work: Work
) -> None:
    work.finished("an old fox")
    work.finished("a newer fox")
    page = open_page(context, work)
    prompt(page).fill("a fox, half")
    page.reload()
    expect(prompt(page)).to_have_value("a fox, half")
    page.get_by_text("Recent", exact=True).click()
    expect(page.get_by_title("a newer fox")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(prompt(page)).to_have_value("an old fox")
    prompt(page).fill("f" * 2001)
    expect(page.locator(".prompt-count")).to_have_text("2,001 of 2,000 characters")


def test_a_large_picture_shows_its_own_pixels(context: BrowserContext, work: Work) -> None:
    work.finished("a wide fox", width=512, height=512)
    page = open_page(context, work)
    page.set_viewport_size({"width": 700, "height": 420})
    page.locator(".stage .picture").click()
    picture = page.locator(".viewer-picture img")
    page.wait_for_function("document.querySelector('.viewer-picture img').naturalWidth === 512")
    picture.evaluate("e => { e.style.maxWidth = '300px'; }")
    picture.click()
    expect(page.locator(".viewer-picture")).to_have_class(re.compile("zoomed"))
    picture.click()
    expect(page.locator(".viewer-picture")).not_to_have_class(re.compile("zoomed"))


def test_what_was_held_back_leads_to_why(context: BrowserContext, work: Work) -> None:
    work.finish(work.claim(work.submit("a red fox", images=2)), refused=[1])
    page = open_page(context, work)
    expect(page.locator(".stage .sheet-words")).to_contain_text("Not charged")
    page.get_by_role("link", name="Why, and how to appeal").click()
    page.wait_for_url("**/refusals")
    page.go_back()
    page.locator(".stage .picture").click()
    expect(page.locator(".viewer-place")).to_have_text("1 of 1")
    page.get_by_role("link", name="Report this picture").click()
    page.wait_for_url("**/report")
    assert page.get_by_role("heading", level=1).is_visible()
