"""The finance page in Chromium: a month is chosen, drilled into and taken away as a file."""

import csv
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from at_desk import assert_fits_a_phone, open_desk
from atelier_at_work import Work
from factories import Team, team
from playwright.sync_api import BrowserContext, Page, expect
from running import Running

from licensing import ledger, usage
from licensing.seats import Member

pytestmark = pytest.mark.browser


@pytest.fixture
def crew(studio: Running) -> Team:
    made = team(studio.database)
    use(studio, made.creator, datetime(2025, 11, 3, tzinfo=UTC), 15_000)
    use(studio, made.creator, datetime(2025, 11, 9, tzinfo=UTC), 30_000)
    use(studio, made.admin, datetime(2025, 11, 9, tzinfo=UTC), 60_000)
    use(studio, made.admin, datetime(2025, 12, 1, tzinfo=UTC), 45_000)
    return made


@pytest.fixture
def work(studio: Running, crew: Team) -> Work:
    return Work(studio, crew.finance)


@pytest.fixture
def page(context: BrowserContext, work: Work) -> Page:
    return open_desk(context, work, "/finance?month=2025-11")


def use(studio: Running, member: Member, at: datetime, amount_micros: int) -> None:
    generation_id = uuid.uuid4()
    with studio.database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=member.organisation_id,
            member_id=member.id,
            generation_id=generation_id,
            amount_micros=amount_micros,
            price_version="test",
        )
        ledger.settle(session, generation_id, amount_micros)
        usage.record(
            session,
            generation_id=generation_id,
            organisation_id=member.organisation_id,
            member_id=member.id,
            model="pocket-turbo",
            images=1,
            width=256,
            height=256,
            amount_micros=amount_micros,
            price_version="test",
            at=at,
        )


def test_a_month_is_chosen_and_the_way_back_leads_back(page: Page) -> None:
    heading = page.get_by_role("heading", name="Usage in")
    expect(heading).to_have_text("Usage in November 2025")
    expect(page.get_by_text("$9.85").first).to_be_visible()
    page.get_by_label("Month", exact=True).select_option("2025-12")
    expect(heading).to_have_text("Usage in December 2025")
    expect(page.get_by_role("row", name="Amir Admin")).to_contain_text("$0.045")
    page.get_by_role("link", name="November 2025").click()
    expect(heading).to_have_text("Usage in November 2025")
    page.go_back()
    expect(heading).to_have_text("Usage in December 2025")
    page.reload()
    expect(heading).to_have_text("Usage in December 2025")


def test_a_total_opens_into_the_days_of_one_member(page: Page) -> None:
    page.get_by_role("link", name="Cleo Creator").click()
    expect(page.get_by_text("Only Cleo Creator")).to_be_visible()
    rows = page.get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("9 Nov")
    expect(rows.nth(1)).to_contain_text("$0.03")
    page.get_by_role("link", name="Show everybody").click()
    page.get_by_role("link", name="By member and day").click()
    expect(rows).to_have_count(4)


def test_the_bars_stand_on_nothing_and_are_in_proportion(page: Page) -> None:
    chart = page.get_by_role("img", name="Spend by day in November 2025, from $0.00 to $0.10.")
    expect(chart).to_be_visible()
    heights = page.locator(".bar").evaluate_all("all => all.map(e => e.offsetHeight)")
    assert len(heights) == 30
    assert heights[2] > 10
    assert abs(heights[8] - heights[2] * 6) <= 6, "$0.09 against $0.015, in whole pixels"
    assert heights[0] == 0


def test_the_file_is_downloaded_and_adds_up_to_what_the_page_says(
    page: Page, tmp_path: Path
) -> None:
    expect(page.get_by_text("3 lines, $0.105")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("link", name="Download November 2025 as CSV").click()
    assert started.value.suggested_filename == "atelier-usage-2025-11.csv"
    path = tmp_path / "usage.csv"
    started.value.save_as(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["amount_micros"]) for row in rows) == 105_000


def test_it_fits_a_phone(page: Page) -> None:
    assert_fits_a_phone(page)
