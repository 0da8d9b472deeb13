"""Who is asked for money: Stripe, its stand-in, or nobody; and nobody while rows are locked."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
from paying import USD, open_desk

from webapp import payments
from webapp.payments import PaymentsOff, provider
from webapp.settings import SettingsProblem, read_settings

REAL_SIGN_IN = {"OIDC_ISSUER": "https://sso.example", "OIDC_CLIENT_ID": "atelier"}
FAR = {**REAL_SIGN_IN, "ATELIER_URL": "https://atelier.example"}
KEY = {"STRIPE_SECRET_KEY": "sk_live_x"}


def test_a_demonstration_has_the_stand_in_and_others_nothing() -> None:
    demo = read_settings({}).payments
    assert demo is not None
    assert demo.is_standin
    assert demo.api_base == "http://127.0.0.1:7860/stripe-standin"
    assert read_settings(REAL_SIGN_IN).payments is None
    asked = read_settings({**REAL_SIGN_IN, "STRIPE_SECRET_KEY": "standin"}).payments
    assert asked is not None
    assert asked.is_standin


def test_stripe_itself_with_its_secret_and_prices() -> None:
    given = {**FAR, **KEY, "STRIPE_WEBHOOK_SECRET": "whsec_x", "STRIPE_SEAT_PRICE_BUSINESS": "p"}
    found = read_settings(given).payments
    assert found is not None
    assert (found.api_base, found.is_standin, found.seat_prices) == (None, False, {"business": "p"})
    assert "sk_live_x" not in repr(found)
    assert "whsec_x" not in repr(found)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**FAR, "STRIPE_SECRET_KEY": "standin"}, "this machine alone"),
        ({**FAR, **KEY}, "STRIPE_WEBHOOK_SECRET is not"),
        ({**FAR, "STRIPE_SECRET_KEY": "pk_live_x"}, "sk_"),
    ],
)
def test_wrong_settings_stop_the_start_with_a_sentence(given: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsProblem, match=words):
        read_settings(given)


def test_a_studio_without_a_provider_says_so(stack: ExitStack, environ: dict[str, str]) -> None:
    desk = open_desk(stack, environ)
    off = read_settings({**environ, **REAL_SIGN_IN})
    studio = replace(desk.studio, settings=off)
    with pytest.raises(PaymentsOff):
        payments.start_top_up(studio, desk.team.owner, 10 * USD)
    payments.run_due(studio)


def test_the_provider_is_never_asked_while_rows_are_locked(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    desk = open_desk(stack, environ)
    client = provider.connect(desk.studio)
    with desk.database.transaction(), pytest.raises(AssertionError, match="transaction"):
        client.v1.events.list()
    assert client.v1.events.list().data == []
