"""What people and scripts may write behind a page's address: the pages with Gradio, over HTTP."""

import httpx2
import pytest
from desks import open_for
from factories import team
from running import Running

from licensing.seats import Page
from webapp.identity import cookie_name


@pytest.fixture
def owner(studio: Running) -> httpx2.Client:
    """An owner's browser: every page opens."""
    browser = studio.browser()
    owner = team(studio.database).owner
    browser.cookies.set(cookie_name(studio.settings), open_for(studio, owner))
    return browser


@pytest.mark.parametrize(
    "query", ["page=none", "%70age=x", "month=2026-11&page=", "deep_link=../x"]
)
@pytest.mark.parametrize("page", [Page.TEAM, Page.FINANCE, Page.REVIEW])
def test_a_page_opens_whatever_parameters_come_with_it(
    owner: httpx2.Client, page: Page, query: str
) -> None:
    assert owner.get(f"/{page}/?{query}").status_code == 200


def test_the_page_librarys_routes_for_developers_are_closed(owner: httpx2.Client) -> None:
    answer = owner.get("/team/gradio_api/dev/reload", timeout=5)
    assert answer.status_code == 404
