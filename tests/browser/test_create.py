"""The creator's page in Chromium: what a person does, from the first prompt to the gallery."""

import re

import pytest
from at_create import newest, open_page, worker_is_there
from atelier_at_work import Work
from playwright.sync_api import BrowserContext, Locator, Page, expect
from sqlalchemy import func, select

from inference.generations import Generation
from licensing.ledger import Balance
from webapp.sso import sessions

pytestmark = pytest.mark.browser


def jobs(work: Work) -> int:
    with work.running.database.read() as session:
        own = Generation.member_id == work.member.id
        return session.scalar(select(func.count()).select_from(Generation).where(own)) or 0


def prompt(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Prompt")


def press_generate(page: Page, words: str) -> None:
    prompt(page).fill(words)
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".stage-prompt")).to_have_text(words)


def test_the_first_picture(page: Page, work: Work) -> None:
    expect(page.get_by_role("heading", name="Your first picture")).to_be_visible()
    page.get_by_role("button", name="a red apple, flat style, on a blue background").click()
    expect(prompt(page)).to_have_value("a red apple, flat style, on a blue background")
    expect(page.locator("#price")).to_have_text("$0.015 for 1 picture")
    expect(page.locator("#left")).to_have_text("Balance $10.00, $9.985 left after")
    page.keyboard.press("Control+Enter")
    waiting = re.compile("Next in line|ahead of you")  # behind what other tests have left
    expect(page.locator(".stage .progress-words")).to_have_text(waiting)
    expect(page.locator("#left")).to_have_text("Balance $9.985, $9.97 left after")
    claimed = work.claim(newest(work))
    work.step(claimed, 3)
    expect(page.locator(".stage .progress-words")).to_have_text("Step 3 of 8")
    assert "blur" in page.locator(".preview").evaluate("e => getComputedStyle(e).filter")
    job = work.finish(claimed)
    picture = page.get_by_role("img", name="a red apple, flat style, on a blue background")
    expect(picture).to_have_attribute("src", f"/media/{job.pictures[0].id}")
    page.wait_for_function("document.querySelector('.stage .picture img').naturalWidth === 256")
    expect(page.locator(".stage-panel")).to_contain_text("paid $0.015")


def test_a_double_click_makes_one_job(page: Page, work: Work) -> None:
    # The moment in which a press is the same wish lasts however slow this machine is.
    page.evaluate("performance.now = () => 0")
    prompt(page).fill("a red apple")
    page.get_by_role("button", name="Generate").dblclick()
    expect(page.locator(".stage-prompt")).to_have_text("a red apple")
    page.keyboard.press("Control+Enter")
    prompt(page).fill("a green apple")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".stage-prompt")).to_have_text("a green apple")
    assert jobs(work) == 2
    assert work.balance().held_micros == 30_000


def test_the_price_follows_the_settings(page: Page) -> None:
    page.locator("#images label", has_text="4").click()
    expect(page.locator("#price")).to_have_text("$0.06 for 4 pictures")
    page.locator("#model summary").click()
    page.locator(".choice-card", has_text="Pocket Raw").click()
    expect(page.locator("#price")).to_have_text("$0.12 for 4 pictures")
    page.locator(".shape", has_text="16:9").click()
    expect(page.get_by_role("textbox", name="Width")).to_have_value("336")


def test_each_error_stands_beside_its_field(page: Page, work: Work) -> None:
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#prompt-error")).to_contain_text("Write a prompt first")
    expect(prompt(page)).to_be_focused()
    prompt(page).fill("a red apple")
    page.get_by_role("textbox", name="Width").fill("250")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#size-error")).to_contain_text("multiple of 16")
    expect(page.locator("#prompt-error .field-error")).to_have_count(0)
    page.get_by_role("textbox", name="Width").fill("256")
    page.get_by_role("textbox", name="Seed").fill("seven")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#seed-error")).to_contain_text("whole number")
    page.get_by_role("textbox", name="Seed").fill("")
    prompt(page).fill("a" * 100_000)
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#prompt-error")).to_contain_text("2,000 is the limit")
    assert (jobs(work), work.balance()) == (0, Balance(10_000_000, 0))


def test_a_reload_and_a_second_tab_show_the_same_running_job(
    page: Page, context: BrowserContext, work: Work
) -> None:
    press_generate(page, "a red apple")
    claimed = work.claim(newest(work))
    work.step(claimed, 2)
    expect(page.locator(".stage .progress-words")).to_have_text("Step 2 of 8")
    page.reload()
    second = open_page(context, work)
    for tab in (page, second):
        expect(tab.locator(".stage .progress-words")).to_have_text("Step 2 of 8")
    work.step(claimed, 5)
    for tab in (page, second):
        expect(tab.locator(".stage .progress-words")).to_have_text("Step 5 of 8")


def test_a_worker_that_falls_silent_is_spoken_of(context: BrowserContext, work: Work) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto(f"{work.running.settings.url}/create")
    expect(page.locator("#price strong")).to_be_visible()
    press_generate(page, "a red apple")
    work.step(work.claim(newest(work)), 3)
    words = page.locator(".stage .progress-words")
    expect(words).to_have_text("Step 3 of 8")
    page.clock.run_for(12_000)
    expect(words).to_contain_text("another one begins again")


def test_cancelling_costs_nothing(page: Page, work: Work) -> None:
    press_generate(page, "a red apple")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".stage")).to_contain_text("Cancelled")
    expect(page.locator(".stage .notice")).to_have_text("Cancelled. Nothing was charged.")
    expect(page.locator("#left")).to_contain_text("Balance $10.00")
    assert newest(work).state == "cancelled"


def test_settings_can_be_used_again(page: Page, work: Work) -> None:
    work.finished("an old fox", model="pocket-turbo", width=336, height=192, images=3, seed=77)
    work.finished("a new fox")
    page.get_by_role("button", name="an old fox").first.click()
    expect(page.get_by_role("dialog")).to_contain_text(re.compile("336 . 192 px"))
    page.get_by_role("dialog").get_by_role("button", name="Use these settings").click()
    expect(prompt(page)).to_have_value("an old fox")
    expect(page.get_by_role("textbox", name="Width")).to_have_value("336")
    expect(page.get_by_role("textbox", name="Seed")).to_have_value("77")
    expect(page.get_by_role("radio", name="3", exact=True)).to_be_checked()
    expect(page.locator("#price")).to_have_text("$0.045 for 3 pictures")
    page.get_by_role("button", name="Make it random").click()
    expect(page.get_by_role("textbox", name="Seed")).to_have_value("")


def test_a_prompt_is_never_run(page: Page, work: Work) -> None:
    hostile = '<img src=x onerror="window.ran=1">${window.ran=2}`{{ran}}</textarea><script>'
    press_generate(page, hostile)
    work.finish(work.claim(newest(work)))
    expect(page.locator(".stage .picture img")).to_have_attribute("alt", hostile)
    page.reload()
    expect(page.locator(".stage-prompt")).to_have_text(hostile)
    page.get_by_role("button", name="Use these settings").click()
    expect(prompt(page)).to_have_value(hostile)
    assert page.evaluate("window.ran") is None


def test_a_model_that_cannot_run_is_shown_with_its_reason(page: Page) -> None:
    page.locator("#model summary").click()
    expect(page.get_by_role("radio", name="Krea 2 Turbo")).to_be_disabled()
    card = page.locator(".choice-card", has_text="Krea 2 Turbo")
    expect(card).to_contain_text(re.compile("needs a GPU|not on this machine|atelier attest"))


def test_without_a_worker_the_page_says_why_a_job_waits(page: Page, work: Work) -> None:
    worker_is_there(work.running, is_there=False)
    expect(page.locator(".worker-notice")).to_contain_text("No worker is running")
    press_generate(page, "a red apple")
    expect(page.locator(".stage .progress-words")).to_contain_text("Your job waits")


def test_an_ended_session_leads_to_sign_in_and_the_job_goes_on(page: Page, work: Work) -> None:
    press_generate(page, "a red apple")
    with work.running.database.transaction() as session:
        sessions.end_sessions(session, work.member.id)
    page.wait_for_url("**/login?next=*")
    assert newest(work).state == "queued"


def test_hundreds_of_pictures_come_a_page_at_a_time(context: BrowserContext, work: Work) -> None:
    for number in range(30):
        work.finished(f"picture {number:02}", images=1)
    page = open_page(context, work)
    expect(page.locator(".strip")).to_have_count(23)  # the newest of the 24 stands above
    page.get_by_role("button", name="Show older pictures").click()
    expect(page.locator(".strip")).to_have_count(29)
    expect(page.get_by_role("button", name="Show older pictures")).to_be_hidden()
    page.locator(".strip .picture").first.click()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog")).to_contain_text("picture 27")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("dialog")).to_contain_text("picture 29")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_its_window_and_its_controls_fit_a_finger(
    page: Page, work: Work, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    press_generate(page, "a very long prompt " * 20)
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0
    for control in ("#generate", "#model summary", ".stage [data-act=cancel]", "#seed input"):
        box = page.locator(control).bounding_box()
        assert box is not None
        assert box["height"] >= 44, control
    work.finish(work.claim(newest(work)))
    expect(page.locator(".stage .picture img")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
