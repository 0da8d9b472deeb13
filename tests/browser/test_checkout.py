"""The stand-in's Checkout page in Chromium: paid by keyboard alone, back on the finance page."""

import re

import pytest
from at_desk import become
from factories import Team, team
from playwright.sync_api import BrowserContext, expect
from running import Running

from licensing import ledger
from licensing.money import MICROS_PER_USD
from licensing.payments import payment_lines
from webapp import payments
from webapp.payments.due import catch_up

BEFORE_MICROS = 10 * MICROS_PER_USD
pytestmark = pytest.mark.browser


@pytest.fixture
def crew(studio: Running) -> Team:
    return team(studio.database, balance_micros=BEFORE_MICROS)


def test_a_top_up_is_paid_by_keyboard_and_ends_on_the_finance_page(
    context: BrowserContext, studio: Running, crew: Team
) -> None:
    become(context, studio, crew.finance)
    page = context.new_page()
    page.goto(payments.start_top_up(studio.studio, crew.finance, 25 * MICROS_PER_USD))
    expect(page.get_by_text("No money moves")).to_be_visible()
    page.get_by_label("Card number").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("4000 0000 0000 0002")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Your card was declined.")
    page.get_by_role("link", name="4242 4242 4242 4242").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Card number")).to_have_value("4242424242424242")
    page.get_by_label("Card number").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pay $25.00")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/finance/?\?view=balance&paid=1$"))
    page.wait_for_selector("[data-view]:not([aria-busy])")
    catch_up(studio.studio)  # whichever comes first, the message or this, pays once
    with studio.database.read() as session:
        balance = ledger.balance(session, crew.id)
        (line,) = payment_lines(session, crew.id)
    assert (line.state, line.amount_micros) == ("paid", 25 * MICROS_PER_USD)
    assert balance.settled_micros == 25 * MICROS_PER_USD + BEFORE_MICROS
