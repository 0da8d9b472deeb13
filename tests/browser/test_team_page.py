"""The admin's page in Chromium: inviting, seating, suspending and removing, by mouse and by key."""

import re

import pytest
from at_desk import assert_fits_a_phone, become, open_desk
from atelier_at_work import Work
from factories import Team, team
from playwright.sync_api import BrowserContext, Locator, Page, expect
from running import Running

from licensing import seat_history, seats

pytestmark = pytest.mark.browser


@pytest.fixture
def crew(studio: Running) -> Team:
    return team(studio.database, seat_ceiling=5)


@pytest.fixture
def work(studio: Running, crew: Team) -> Work:
    return Work(studio, crew.admin)


@pytest.fixture
def page(context: BrowserContext, work: Work) -> Page:
    return open_desk(context, work, "/team")


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has_text=name)


def manage(page: Page, name: str) -> Locator:
    page.get_by_role("button", name=f"Manage {name}").click()
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_role("heading", name=name, exact=True)).to_be_visible()
    return sheet


def test_an_invite_is_made_by_keyboard_and_its_link_is_shown_once(
    page: Page, context: BrowserContext
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    expect(page.get_by_role("heading", name="2 seats left of 5")).to_be_visible()
    page.get_by_role("button", name="Invite someone").focus()
    page.keyboard.press("Enter")
    field = page.get_by_label("E-mail address")
    expect(field).to_be_focused()
    page.keyboard.type("nobody")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("“nobody” is not an e-mail address.")
    field.fill("new@nord.example")
    field.press("Enter")
    expect(page.locator("#news")).to_contain_text("new@nord.example is invited.")
    expect(page.locator("#news")).to_be_focused()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("heading", name="1 seat left of 5")).to_be_visible()
    link = page.get_by_label("Invite link").input_value()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/invite/[\w-]{43}", link)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.reload()
    expect(page.get_by_text("1 held by pending invites")).to_be_visible()
    expect(page.get_by_label("Invite link")).to_have_count(0)

    page.get_by_role("button", name="Take back the invite of new@nord.example").click()
    expect(page.get_by_role("dialog")).to_contain_text("The seat that it holds is free again.")
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_role("heading", name="2 seats left of 5")).to_be_visible()


def test_a_suspension_is_said_before_done_once_and_felt_at_once(
    page: Page, context: BrowserContext, crew: Team, studio: Running
) -> None:
    sheet = manage(page, "Cleo Creator")
    expect(sheet).to_contain_text("Suspended, Cleo Creator is signed out everywhere")
    sheet.get_by_role("button", name="Suspend").dblclick()
    expect(row(page, "Cleo Creator")).to_contain_text("Suspended")
    expect(page.locator("#news")).to_have_text(
        "Cleo Creator is suspended and signed out everywhere."
    )
    with studio.database.read() as session:
        kinds = [c.kind for c in seat_history.changes(session, crew.id, limit=20)]
    assert kinds.count("suspended") == 1
    become(context, studio, crew.creator)
    theirs = context.new_page()
    theirs.goto(f"{studio.settings.url}/create")
    expect(theirs).to_have_url(re.compile("/login"))


def test_a_seat_and_a_role_change_hands(page: Page, crew: Team, studio: Running) -> None:
    manage(page, "Cleo Creator").get_by_role("button", name="Take the seat back").click()
    expect(page.get_by_role("heading", name="3 seats left of 5")).to_be_visible()
    expect(row(page, "Cleo Creator")).to_contain_text("No seat")
    sheet = manage(page, "Cleo Creator")
    expect(sheet.get_by_role("radio", name="Creator")).to_be_checked()
    sheet.get_by_role("radio", name="Reviewer").check()
    sheet.get_by_role("button", name="Change role").click()
    expect(row(page, "Cleo Creator")).to_contain_text("Reviewer")
    page.get_by_role("link", name="Keys and history").click()
    changed = "Amir Admin changed the role of Cleo Creator from creator to reviewer"
    expect(page.get_by_text(changed)).to_be_visible()
    with studio.database.read() as session:
        member = seats.get_member(session, crew.creator.id)
    assert member is not None
    assert (member.role, member.seated) == ("reviewer", False)


def test_removing_takes_a_second_step_and_a_stale_page_says_so(
    page: Page, context: BrowserContext, work: Work
) -> None:
    stale = open_desk(context, work, "/team")
    open_sheet = manage(stale, "Cleo Creator")
    sheet = manage(page, "Cleo Creator")
    remove = sheet.get_by_role("button", name="Remove Cleo Creator")
    expect(remove).to_be_hidden()
    sheet.get_by_text("Remove from the team…").click()
    remove.click()
    expect(page.locator("#news")).to_have_text("Cleo Creator is no longer in the team.")
    expect(row(page, "Cleo Creator")).to_have_count(0)

    open_sheet.get_by_role("button", name="Suspend").click()
    expect(open_sheet.get_by_role("alert").first).to_have_text("There is no such member.")
    expect(row(stale, "Cleo Creator")).to_have_count(0)


def test_escape_closes_a_sheet_and_gives_the_focus_back(page: Page) -> None:
    manage(page, "Fay Finance")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="Manage Fay Finance")).to_be_focused()


def test_a_studio_that_does_not_answer_is_said_and_asked_again(
    context: BrowserContext, work: Work
) -> None:
    page = context.new_page()
    page.route("**/team/view*", lambda route: route.abort())
    page.goto(f"{work.running.settings.url}/team")
    expect(page.get_by_role("alert")).to_contain_text("The studio does not answer.")
    page.unroute("**/team/view*")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Members 5")).to_be_visible()


def test_an_address_that_makes_no_sense_leads_back(context: BrowserContext, work: Work) -> None:
    page = open_desk(context, work, "/team?part=none")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="Show everything").click()
    expect(page.get_by_role("heading", name="Members 5")).to_be_visible()


def test_it_fits_a_phone_with_its_sheets(page: Page) -> None:
    assert_fits_a_phone(page)
    manage(page, "Cleo Creator")
    assert_fits_a_phone(page)


def test_a_name_that_is_one_long_word_stays_inside_its_sheet(
    page: Page, crew: Team, studio: Running
) -> None:
    name = "N" * seats.NAME_CHARACTERS_MAX
    with studio.database.transaction() as session:
        member = seats.get_member(session, crew.creator.id)
        assert member is not None
        member.name = name
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    sheet = manage(page, name)
    sheet.get_by_text("Remove from the team…").click()
    outside = sheet.evaluate(
        """(sheet) => [...sheet.querySelectorAll('.button')]
           .filter((e) => e.getBoundingClientRect().right > innerWidth)
           .map((e) => e.textContent)"""
    )
    assert outside == []


def test_a_creator_is_told_that_it_is_not_theirs(
    context: BrowserContext, crew: Team, studio: Running
) -> None:
    become(context, studio, crew.creator)
    page = context.new_page()
    answer = page.goto(f"{studio.settings.url}/team")
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_text("The team page is not part of your role (creator).")).to_be_visible()
