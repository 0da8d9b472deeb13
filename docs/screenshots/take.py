"""Take the pictures of the creator's page anew, from a fresh studio with its worker.

    ATELIER_STATE=/tmp/fresh make run
    .venv/bin/python docs/screenshots/take.py http://127.0.0.1:7860

The studio must be a demonstration without pictures: the first one shows the empty page.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

FOLDER = Path(__file__).parent
WAIT_MS = 180_000  # the slowest machine makes four pictures in that time
Look = tuple[int, int, str]  # width, height, light or dark
LOOKS: tuple[Look, ...] = (
    (1440, 900, "light"),
    (1440, 900, "dark"),
    (390, 844, "light"),
    (390, 844, "dark"),
)
JOBS = (
    ("a white swan, 3d render, on a teal background", 1),
    ("a pink flamingo, flat style, on a yellow background", 1),
    ("a fox to the left of a tree, shaded illustration, on a white background", 1),
    ("a green cactus, pixel art, on an orange background", 2),
    ("an orange fox, flat style, on a light blue background", 4),
    ("a red apple, flat style, on a blue background", 1),
)


def main() -> None:
    url = sys.argv[1]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        make_pictures(signed_in(context, url))
        for how in LOOKS:
            look(browser, context, url, how)
        browser.close()


def signed_in(context: BrowserContext, url: str) -> Page:
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(f"{url}/create")
    page.get_by_role("link", name="Continue with the demo provider").click()
    page.get_by_role("button", name="Cleo Marchetti").click()
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Accept and go on").click()
    page.wait_for_selector("#price strong")
    return page


def make_pictures(page: Page) -> None:
    page.wait_for_selector(".feed-empty:not([hidden])")
    save(page, "create-empty-1440-light")
    for prompt, images in JOBS:
        page.get_by_role("textbox", name="Prompt").fill(prompt)
        page.locator("#images label").nth(images - 1).click()
        page.get_by_role("button", name="Generate").click()
        page.wait_for_function(
            "words => document.querySelector('.stage-prompt')?.textContent === words", arg=prompt
        )
        if images > 2:
            words = "document.querySelector('.stage .progress-words')?.textContent"
            page.wait_for_function(f"/Step (1[2-9]|2\\d) /.test({words})")
            save(page, "create-running-1440-light")
        page.wait_for_selector(".stage[data-state=finished]")


def look(browser: Browser, known: BrowserContext, url: str, how: Look) -> None:
    width, height, scheme = how
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        storage_state=known.storage_state(),
    )
    page = context.new_page()
    page.goto(f"{url}/create")
    page.wait_for_selector(".stage .picture img")
    page.wait_for_selector("#price strong")
    save(page, f"create-{width}-{scheme}")
    page.evaluate("document.querySelector('.gallery-bar').scrollIntoView()")
    page.evaluate("scrollBy(0, -90)")
    if (width, scheme) != (1440, "dark"):
        save(page, f"create-pictures-{width}-{scheme}")
    page.locator(".strip .picture").first.click()
    save(page, f"viewer-{width}-{scheme}")
    context.close()


def save(page: Page, name: str) -> None:
    page.wait_for_timeout(900)  # pictures arrive and fade in
    page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
