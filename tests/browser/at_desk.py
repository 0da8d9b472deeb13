"""Opening the team, finance and review pages, and what holds for each of them."""

from atelier_at_work import Work
from desks import open_for
from playwright.sync_api import BrowserContext, Page
from running import Running

from licensing.seats import Member
from webapp.identity import cookie_name

TOUCH_PIXELS = 44  # what a finger hits


def open_desk(context: BrowserContext, work: Work, path: str) -> Page:
    """Open a desk and wait for its body."""
    page = context.new_page()
    page.goto(f"{work.running.settings.url}{path}")
    page.wait_for_selector("[data-view]:not([aria-busy])")
    return page


def become(context: BrowserContext, studio: Running, member: Member) -> None:
    """Go on in this browser as somebody else."""
    context.clear_cookies()
    name, url = cookie_name(studio.settings), studio.settings.url
    context.add_cookies([{"name": name, "value": open_for(studio, member), "url": url}])


def assert_fits_a_phone(page: Page) -> None:
    """Nothing is wider than the screen, and whatever can be pressed is large enough."""
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    small = page.evaluate(
        """(least) => [...document.querySelectorAll('#desk button, #desk a.button, #desk select,'
             + '#desk .segments a, #desk .picks a, #desk summary, #desk input:not([type=hidden])')]
           .filter((e) => e.checkVisibility() && !e.closest('label'))
           .filter((e) => e.getBoundingClientRect().height < least)
           .map((e) => e.outerHTML)""",
        TOUCH_PIXELS,
    )
    assert small == []
