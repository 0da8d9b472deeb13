"""Every page under axe-core, light and dark, wide and narrow; and the studio without a mouse.

axe-core is somebody else's measure of WCAG: roles, names, contrast, headings, landmarks. It is
fetched by npm once and injected from its file; the browser itself still reaches nothing outside.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from at_create import bring_lora, choose_lora, newest
from at_desk import become, open_desk
from atelier_at_work import Work, agree
from factories import Team, team
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from running import Running

from licensing import moderation
from webapp import payments

pytestmark = pytest.mark.browser

PACKAGE = "axe-core@4.14.1"
WIDTHS = (1440, 390)
SCHEMES: dict[Literal["light", "dark"], dict[str, object]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},
}
# No colour is caught fading.
FADED = "Promise.all(document.getAnimations().map(each => each.finished.catch(() => null)))"
TABS_MAX = 24  # more stops than the page has before its first picture


@pytest.fixture(scope="session")
def axe(pytestconfig: pytest.Config) -> str:
    """The checker's source; kept between runs."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("axe-core")
    script: Path = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed here, so axe-core cannot be had")
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", PACKAGE]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            pytest.skip(f"npm could not install {PACKAGE}: {made.stderr.strip()[-300:]}")
    return script.read_text("utf-8")


@pytest.fixture
def stranger(chromium: Browser) -> Iterator[Page]:
    """Somebody who has not signed in."""
    context = chromium.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def crew(studio: Running) -> Team:
    """A team with a finished job, a refused prompt and a picture to be looked at."""
    made = team(studio.database)
    maker = Work(studio, made.creator)
    agree(maker, made.creator)
    job = maker.finished("two people fighting")
    with studio.database.transaction() as session:
        for index in (None, 0):
            moderation.record(
                session,
                organisation_id=made.id,
                member_id=made.creator.id,
                generation_id=None if index is None else job.id,
                picture_index=index,
                subject="prompt" if index is None else "image",
                action="block" if index is None else "review",
                category="violence",
                source="test",
                excerpt="two people fighting",
            )
    return made


def assert_accessible(page: Page, axe: str) -> None:
    """All of axe's rules in the light; in the dark the colours again, all that is other there."""
    page.evaluate(axe)
    inks = set()
    for scheme, rules in SCHEMES.items():
        page.emulate_media(color_scheme=scheme)
        page.evaluate(FADED)
        inks.add(page.evaluate("getComputedStyle(document.body).color"))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            found = page.evaluate("asked => axe.run(document, asked)", rules)
            faults = [
                f"{scheme}, {width} px, {fault['impact']}: {fault['help']}: {place['html']}"
                for fault in found["violations"]
                for place in fault["nodes"]
            ]
            assert not faults, "\n".join(faults)
    assert len(inks) == len(SCHEMES), "it was dark in the dark"


def test_the_pages_before_and_beside_the_studio(stranger: Page, studio: Running, axe: str) -> None:
    stranger.goto(f"{studio.settings.url}/login")
    assert_accessible(stranger, axe)
    stranger.get_by_text("Continue with the demo provider").click()
    expect(stranger.get_by_role("heading", name="Who do you want to be?")).to_be_visible()
    assert_accessible(stranger, axe)
    for path in ("/nothing-here", "/signed-out"):
        stranger.goto(f"{studio.settings.url}{path}")
        assert_accessible(stranger, axe)


def test_the_agreements(context: BrowserContext, work: Work, axe: str) -> None:
    page = context.new_page()
    bring_lora(work, "Ink wash", 1, "inkwash")
    for path in ("/agreements", "/licence", "/keys", "/loras", "/verify", "/refusals", "/report"):
        page.goto(f"{work.running.settings.url}{path}")
        assert_accessible(page, axe)


def test_the_creator_page(context: BrowserContext, work: Work, axe: str) -> None:
    page = context.new_page()
    bring_lora(work, "Ink wash", 1, "inkwash")
    page.goto(f"{work.running.settings.url}/create")
    page.wait_for_selector(".feed[data-state=ready]")
    page.wait_for_selector("#price strong")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#prompt-error .field-error")).to_be_visible()
    assert_accessible(page, axe)
    choose_lora(page, "Ink wash")
    page.locator(".lora-add summary").click()
    assert_accessible(page, axe)
    page.keyboard.press("Escape")
    work.finished("a red apple", images=2)
    expect(page.locator(".stage .picture")).to_have_count(2)
    page.locator("#model summary").click()
    assert_accessible(page, axe)
    page.keyboard.press("Escape")
    page.locator(".stage .picture").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_accessible(page, axe)


def test_the_desks(context: BrowserContext, studio: Running, crew: Team, axe: str) -> None:
    become(context, studio, crew.owner)
    page = context.new_page()
    finance = ("/finance", "/finance?by=generation", "/finance?view=balance", "/finance?view=bills")
    views = ("groups", "plan", "joining", "access", "people")
    team = [f"/team?view={view}" for view in views]
    review = ("/review", "/review?view=numbers", "/review?view=access")
    for path in (*finance, *review, *team):
        page.goto(f"{studio.settings.url}{path}")
        page.wait_for_selector("[data-view]:not([aria-busy])")
        assert_accessible(page, axe)
    page.get_by_role("button", name="Invite someone").click()
    expect(page.get_by_label("E-mail address")).to_be_focused()
    assert_accessible(page, axe)


def test_the_stand_in_for_stripe(studio: Running, crew: Team, stranger: Page, axe: str) -> None:
    url = payments.start_top_up(studio.studio, crew.owner, 25_000_000)
    stranger.goto(url)
    assert_accessible(stranger, axe)
    stranger.get_by_label("Card number").fill("4000 0000 0000 0002")
    stranger.get_by_role("button", name="Pay $25.00").click()
    expect(stranger.get_by_role("alert")).to_be_visible()
    assert_accessible(stranger, axe)
    stranger.get_by_label("Card number").fill("4000 0025 0000 3155")
    stranger.get_by_role("button", name="Pay $25.00").click()
    expect(stranger.get_by_role("heading", name="Pay $25.00?")).to_be_visible()
    assert_accessible(stranger, axe)
    stranger.get_by_role("button", name="Confirm", exact=True).click()
    for path in (url, f"{studio.settings.url}/stripe-standin/control"):
        stranger.goto(path)
        assert_accessible(stranger, axe)


def test_four_pages_fit_the_header_of_a_phone(
    context: BrowserContext, studio: Running, crew: Team
) -> None:
    become(context, studio, crew.owner)
    page = open_desk(context, Work(studio, crew.owner), "/team")
    page.set_viewport_size({"width": 360, "height": 780})
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    expect(links).to_have_text(["Create", "Team", "Finance", "Review"])
    for link in links.all():
        box = link.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 360
        assert box["height"] == 44, "one line of words"
        assert link.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_a_picture_by_keyboard_alone(page: Page, work: Work) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    prompt = page.get_by_role("textbox", name="Prompt")
    tab_to(page, prompt, at_most=1)
    page.keyboard.type("a red apple")
    tab_to(page, page.locator("#model summary"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name="Pocket Turbo")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#model summary")).to_be_focused()
    tab_to(page, page.get_by_role("radio", name="1", exact=True))
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="2", exact=True)).to_be_checked()
    expect(page.locator("#price")).to_have_text("$0.03 for 2 pictures")
    tab_to(page, page.get_by_role("button", name="Generate"))
    page.keyboard.press("Enter")
    expect(page.locator(".stage-prompt")).to_have_text("a red apple")
    work.finish(work.claim(newest(work)))
    picture = page.get_by_role("button", name="a red apple, picture 1")
    expect(picture).to_be_visible()
    expect(page.locator(".feed-said")).not_to_be_empty()
    tab_to(page, picture)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("document.querySelector('dialog.viewer').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(picture).to_be_focused()


def test_a_sheet_takes_the_focus_and_gives_it_back(
    context: BrowserContext, studio: Running, crew: Team
) -> None:
    become(context, studio, crew.owner)
    page = open_desk(context, Work(studio, crew.owner), "/team")
    button = page.get_by_role("button", name="Manage").first
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button).to_be_focused()


def test_a_corrected_field_loses_its_error(page: Page) -> None:
    page.get_by_role("button", name="Generate").click()
    sentence = page.locator("#prompt-error .field-error")
    expect(sentence).to_be_visible()
    page.keyboard.type("a red apple")
    expect(sentence).to_be_hidden()


def tab_to(page: Page, target: Locator, at_most: int = TABS_MAX) -> None:
    for _ in range(at_most):
        page.keyboard.press("Tab")
        if target.evaluate("e => e === document.activeElement"):
            return
    pytest.fail(f"{target} was not reached")
