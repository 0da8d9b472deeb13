"""The finance page in Chromium: a month is opened down to its generations, paid for, taken away."""

import csv
import uuid
from collections.abc import Callable
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
    return open_desk(context, work, "/finance?month=2025-11&by=member")


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


def test_a_total_opens_down_to_its_generations_and_up_again(page: Page) -> None:
    page.get_by_role("link", name="Cleo Creator", exact=True).click()
    expect(page.get_by_role("link", name="Take away: Member Cleo Creator")).to_be_visible()
    rows = page.get_by_role("table").locator("tbody").get_by_role("row")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("$0.03")
    page.get_by_role("link", name="9 Nov", exact=True).click()
    expect(page.get_by_role("columnheader", name="Settled (UTC)")).to_be_visible()
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="Take away: Member Cleo Creator").click()
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="Take away: Day").click()
    expect(rows).to_have_count(3)
    page.get_by_label("by", exact=True).select_option("model")
    expect(rows).to_have_count(1)
    expect(page.get_by_role("row", name="Pocket Turbo")).to_contain_text("$0.105")


def test_the_bars_stand_on_nothing_and_are_in_proportion(page: Page) -> None:
    chart = page.get_by_role("figure", name="Spend by day")
    expect(chart).to_contain_text("from $0.00 to $0.10. The highest day is 9 November 2025")
    days = page.locator("[data-bars] li")
    expect(days).to_have_count(30)
    heights = days.evaluate_all(
        "all => all.map((e) => [...e.querySelectorAll('.bar')]"
        ".reduce((sum, bar) => sum + bar.offsetHeight, 0))"
    )
    assert heights[2] > 10
    assert abs(heights[8] - heights[2] * 6) <= 6, "$0.09 against $0.015, in whole pixels"
    assert heights[0] == 0


def test_the_arrow_keys_read_the_chart_day_by_day(page: Page) -> None:
    first = page.get_by_role("link", name="1 November: $0.00", exact=True)
    first.focus()
    readout = page.locator("#readout")
    expect(readout).to_contain_text("Sat 1 Nov · $0.00")
    page.keyboard.press("End")
    page.keyboard.press("Home")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("Sun 9 Nov · $0.09 Amir Admin $0.06 · Cleo Creator $0.03")
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Settled (UTC)")).to_be_visible()
    expect(page.locator("[data-bars] [aria-current]")).to_have_attribute(
        "aria-label", "9 November: $0.09"
    )


def test_a_table_is_downloaded_as_it_is_seen(page: Page, tmp_path: Path) -> None:
    with page.expect_download() as started:
        page.get_by_role("link", name="this table").click()
    assert started.value.suggested_filename == "atelier-2025-11-member.csv"
    path = tmp_path / "usage.csv"
    started.value.save_as(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["Member"], row["spent_usd"]) for row in rows] == [
        ("Amir Admin", "0.060000"),
        ("Cleo Creator", "0.045000"),
    ]


def test_a_month_s_statement_is_downloaded(page: Page) -> None:
    page.get_by_role("link", name="Bills").click()
    page.locator("summary", has_text="November 2025").click()
    with page.expect_download() as started:
        page.get_by_role("link", name="Statement of November 2025 as PDF").click()
    assert started.value.suggested_filename.endswith("2025-11.pdf")


@pytest.mark.parametrize("view", ["usage", "balance", "bills"])
def test_it_fits_a_phone(page: Page, studio: Running, view: str) -> None:
    page.goto(f"{studio.settings.url}/finance?view={view}&month=2025-11")
    page.wait_for_selector("[data-view]:not([aria-busy])")
    assert_fits_a_phone(page)


def test_money_comes_in_by_card_and_goes_back(page: Page) -> None:
    page.get_by_role("button", name="Top up").click()
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_label("$25")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    amount = sheet.get_by_label("Another amount, $5.00 to $10,000.00")
    expect(amount).to_be_focused()
    amount.fill("4.99")
    page.keyboard.press("Enter")
    expect(sheet.get_by_role("alert")).to_contain_text("$5.00")
    amount.fill("60")
    page.keyboard.press("Enter")
    page.get_by_label("Card number").fill("4242 4242 4242 4242")
    page.get_by_label("Expiry").fill("12/40")
    page.get_by_label("Security code").fill("123")
    page.get_by_role("button", name="Pay $60.00").click()
    expect(page.get_by_text("Thank you.")).to_be_visible()
    row = page.get_by_role("table", name="Payments, newest first").get_by_role("row").nth(1)
    until(page, row.is_visible)
    expect(row).to_contain_text("$60.00")
    row.get_by_role("button", name="Pay back").click()
    sheet.get_by_label("Amount in US dollars").fill("10")
    sheet.get_by_label("Reason").fill("Too much")
    sheet.get_by_role("button", name="Pay back").click()
    expect(page.locator("#news")).to_be_focused()
    expect(page.get_by_role("row", name="Paid back Too much")).to_contain_text("\u2212$10.00")


def until(page: Page, is_so: Callable[[], bool]) -> None:
    """Look at the page again until the provider's message has been applied."""
    for _ in range(40):
        if is_so():
            return
        page.wait_for_timeout(250)
        page.reload()
        page.wait_for_selector("[data-view]:not([aria-busy])")
    pytest.fail("the payment was never confirmed")


def test_an_address_that_cannot_be_read_leads_back(page: Page, studio: Running) -> None:
    page.goto(f"{studio.settings.url}/finance?month=2025-13")
    expect(page.get_by_role("alert")).to_contain_text("Name a month such as 2026-11.")
    page.get_by_role("button", name="Show everything").click()
    expect(page.get_by_role("heading", name="Usage in")).to_be_visible()
