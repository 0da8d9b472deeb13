"""Back-channel logout: a good token ends the session once, any other changes nothing."""

import time
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from forger import SUBJECT, Forger, come_back_in, start_forger
from joserfc.jwk import ECKey
from running import Running

from webapp.sso.backchannel import EVENT


@pytest.fixture
def signed_in(stack: ExitStack, environ: dict[str, str]) -> tuple[Forger, Running, httpx2.Client]:
    forger, studio = start_forger(stack, environ)
    browser = studio.browser()
    forger.answer = lambda asked: {
        "access_token": "access",
        "token_type": "Bearer",
        "id_token": forger.sign(forger.claims(nonce=asked["nonce"])),
    }
    assert come_back_in(browser, forger).headers["location"] == "/create"
    return forger, studio, browser


def logout_claims(forger: Forger, **changes: Any) -> dict[str, Any]:
    gone = {"email": None, "email_verified": None, "name": None}
    claims = forger.claims(**{**gone, "jti": "token-1", "events": {EVENT: {}}, **changes})
    return {name: value for name, value in claims.items() if value is not None}


def deliver(studio: Running, token: str) -> httpx2.Response:
    # A provider is no browser: it sends neither Origin nor Sec-Fetch-Site.
    url = f"{studio.settings.url}/backchannel-logout/oidc"
    return httpx2.post(url, data={"logout_token": token}, trust_env=False)


def is_signed_in(browser: httpx2.Client) -> bool:
    return browser.get("/").headers["location"] == "/create"


@pytest.mark.parametrize("whose", [{}, {"sub": None}, {"sid": None}], ids=str)
def test_a_logout_token_ends_the_session_at_once_and_works_once(
    signed_in: tuple[Forger, Running, httpx2.Client], whose: dict[str, Any]
) -> None:
    forger, studio, browser = signed_in
    token = forger.sign(logout_claims(forger, **whose), typ="logout+jwt")
    answer = deliver(studio, token)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert browser.get("/").headers["location"] == "/login?next=%2F&reason=ended"
    assert come_back_in(browser, forger).headers["location"] == "/create"
    replay = deliver(studio, token)
    assert replay.status_code == 400
    assert "used before" in replay.text
    assert is_signed_in(browser)


@pytest.mark.parametrize(
    "changes",
    [
        {"events": None},
        {"events": {"something-else": {}}},
        {"events": "logout"},
        {"nonce": "a-nonce"},
        {"jti": None},
        {"iat": None},
        {"iat": int(time.time()) - 3600},
        {"exp": 1_700_000_000},
        {"aud": "another-client"},
        {"iss": "https://evil.example"},
        {"sub": None, "sid": None},
        {"sid": {"$ne": ""}},
    ],
    ids=" ".join,  # without the time of day, on which two test processes would not agree
)
def test_a_token_that_is_not_good_changes_nothing(
    signed_in: tuple[Forger, Running, httpx2.Client], changes: dict[str, Any]
) -> None:
    forger, studio, browser = signed_in
    answer = deliver(studio, forger.sign(logout_claims(forger, **changes), typ="logout+jwt"))
    assert answer.status_code == 400
    assert is_signed_in(browser)


def test_forged_tokens_and_other_kinds_of_token_change_nothing(
    signed_in: tuple[Forger, Running, httpx2.Client],
) -> None:
    forger, studio, browser = signed_in
    claims = logout_claims(forger)
    for token in (
        forger.sign(claims, typ="JWT"),
        forger.sign(claims, key=ECKey.generate_key("P-256"), typ="logout+jwt"),
        "not a token",
        "x" * 20_000,
        "",
    ):
        assert deliver(studio, token).status_code == 400
    assert is_signed_in(browser)


def test_a_logout_of_somebody_else_leaves_this_session(
    signed_in: tuple[Forger, Running, httpx2.Client],
) -> None:
    forger, studio, browser = signed_in
    for whose in ({"sub": "another"}, {"sid": "another"}, {"sub": SUBJECT, "sid": "another"}):
        claims = logout_claims(forger, jti=str(whose), **whose)
        assert deliver(studio, forger.sign(claims, typ="logout+jwt")).status_code == 200
    assert is_signed_in(browser)


def test_an_unknown_provider_is_refused(
    signed_in: tuple[Forger, Running, httpx2.Client],
) -> None:
    _, studio, _ = signed_in
    url = f"{studio.settings.url}/backchannel-logout/none"
    assert httpx2.post(url, data={"logout_token": "x"}, trust_env=False).status_code == 400
