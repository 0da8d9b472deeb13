"""Notices about money: mailed once to owners and finance, whichever process takes them."""

from contextlib import ExitStack

import pytest
from paying import USD, open_desk
from post_office import post_office
from racing import race

from licensing.errors import Conflict, NotFound
from licensing.payments import overview
from webapp import payments


def test_a_notice_is_mailed_once_to_owners_and_finance(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    office = stack.enter_context(post_office())
    environ |= {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(office.port),
        "SMTP_SECURITY": "none",
        "SMTP_FROM": "Atelier <atelier@studio.example>",
    }
    desk = open_desk(stack, environ, balance_usd=3)
    payments.set_alert(desk.studio, desk.team.owner, 5 * USD)
    race([lambda: payments.run_due(desk.studio)] * 4)
    payments.run_due(desk.studio)
    people = {desk.team.owner.email, desk.team.finance.email}
    assert sorted(str(letter["To"]) for letter in office.letters) == sorted(people)
    assert "$3.00 is left" in office.letters[0].get_content()


def test_a_notice_whose_cause_lasts_stays(stack: ExitStack, environ: dict[str, str]) -> None:
    desk = open_desk(stack, environ)
    payments.set_alert(desk.studio, desk.team.owner, 5 * USD)
    payments.run_due(desk.studio)
    with desk.database.read() as session:
        (notice,) = overview(session, desk.team.id).notices
    assert not notice.is_dismissable
    with pytest.raises(Conflict):
        payments.dismiss_notice(desk.studio, desk.team.owner, notice.id)
    with pytest.raises(NotFound):
        payments.dismiss_notice(desk.studio, desk.team.owner, notice.id + 1)
    payments.set_alert(desk.studio, desk.team.owner, None)
    with desk.database.read() as session:
        assert overview(session, desk.team.id).notices == []
