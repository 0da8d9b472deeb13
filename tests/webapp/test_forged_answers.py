"""A provider's answer that is not genuine opens no session, whatever is wrong with it."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from forger import CLIENT_SECRET, Forger, come_back, come_back_in, start_forger
from joserfc.jwk import ECKey, OctKey
from running import Running
from sqlalchemy import func, select
from starlette.responses import JSONResponse

from webapp.sso.sessions import WebSession


@pytest.fixture
def forged(stack: ExitStack, environ: dict[str, str]) -> tuple[Forger, Running]:
    return start_forger(stack, environ)


def tokens(id_token: str | None) -> dict[str, Any]:
    answer = {"access_token": "access", "token_type": "Bearer", "expires_in": 300}
    return answer if id_token is None else {**answer, "id_token": id_token}


def sessions_open(studio: Running) -> int:
    with studio.database.read() as session:
        return session.scalars(select(func.count()).select_from(WebSession)).one()


def refused(answer: httpx2.Response, studio: Running, status: int = 400) -> bool:
    """Whether nobody was let in, and the person reads a sentence instead of a fault."""
    assert answer.status_code == status, answer.text
    assert "Sign in" in answer.text
    return "atelier_session" not in answer.headers.get("set-cookie", "") and (
        sessions_open(studio) == 0
    )


def test_a_genuine_answer_opens_a_session(forged: tuple[Forger, Running]) -> None:
    forger, studio = forged
    forger.answer = lambda asked: tokens(forger.sign(forger.claims(nonce=asked["nonce"])))
    assert come_back(studio, forger).headers["location"] == "/create"
    assert sessions_open(studio) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": ["another-client", "third"]},
        {"aud": None},
        {"azp": "another-client"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"iat": 4_000_000_000, "exp": 4_000_000_300},
    ],
    ids=str,
)
def test_wrong_claims_are_refused(forged: tuple[Forger, Running], changes: dict[str, Any]) -> None:
    forger, studio = forged
    forger.answer = lambda asked: tokens(
        forger.sign(forger.claims(**{"nonce": asked["nonce"], **changes}))
    )
    assert refused(come_back(studio, forger), studio)


def unsigned(_: Forger, claims: dict[str, Any]) -> str:
    parts = ('{"alg":"none"}', str(claims).replace("'", '"').replace("True", "true"))
    return ".".join(urlsafe_b64encode(p.encode()).rstrip(b"=").decode() for p in parts) + "."


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(
            lambda f, c: f.sign(c, key=ECKey.generate_key("P-256")), id="another key, same id"
        ),
        pytest.param(
            lambda f, c: f.sign(c, key=OctKey.import_key(CLIENT_SECRET), alg="HS256"),
            id="signed with the client's secret",
        ),
        pytest.param(unsigned, id="not signed"),
        pytest.param(lambda _, __: "not.a.token", id="not a token"),
        pytest.param(lambda f, c: f.sign(c)[:-4] + "AAAA", id="tampered"),
    ],
)
def test_wrong_signatures_are_refused(
    forged: tuple[Forger, Running], forge: Callable[[Forger, dict[str, Any]], str]
) -> None:
    forger, studio = forged
    forger.answer = lambda asked: tokens(forge(forger, forger.claims(nonce=asked["nonce"])))
    assert refused(come_back(studio, forger), studio)


def test_an_answer_without_an_id_token_is_refused(forged: tuple[Forger, Running]) -> None:
    forger, studio = forged
    forger.answer = lambda _: tokens(None)
    assert refused(come_back(studio, forger), studio)


def test_state_is_needed_and_works_once_in_the_browser_that_made_it(
    forged: tuple[Forger, Running],
) -> None:
    forger, studio = forged
    forger.answer = lambda asked: tokens(forger.sign(forger.claims(nonce=asked["nonce"])))
    assert refused(come_back(studio, forger, state="made-up"), studio)
    assert refused(studio.browser().get("/callback/oidc?code=c"), studio)
    come_back_in(studio.browser(), forger, state="keeps the attempt")
    stolen = {"code": "c", "state": forger.asked[-1]["state"]}
    assert refused(studio.browser().get("/callback/oidc", params=stolen), studio)


def test_another_provider_cannot_answer_for_this_one(forged: tuple[Forger, Running]) -> None:
    forger, studio = forged
    forger.answer = lambda asked: tokens(forger.sign(forger.claims(nonce=asked["nonce"])))
    assert refused(come_back(studio, forger, iss="https://evil.example"), studio)
    assert come_back(studio, forger, iss=forger.issuer).status_code == 303


def test_a_cancelled_sign_in_says_so(forged: tuple[Forger, Running]) -> None:
    forger, studio = forged
    answer = come_back(studio, forger, error="access_denied")
    assert refused(answer, studio)
    assert "was cancelled" in answer.text


def test_the_provider_is_told_the_verifier_of_its_challenge(
    forged: tuple[Forger, Running],
) -> None:
    forger, studio = forged
    seen = []

    def answer(asked: dict[str, str]) -> dict[str, Any]:
        seen.append(asked["code_verifier"])
        return tokens(forger.sign(forger.claims(nonce=asked["nonce"])))

    forger.answer = answer
    come_back(studio, forger)
    assert len(seen[0]) >= 43


def test_a_new_signing_key_is_fetched(forged: tuple[Forger, Running]) -> None:
    forger, studio = forged
    forger.answer = lambda asked: tokens(forger.sign(forger.claims(nonce=asked["nonce"])))
    assert come_back(studio, forger).status_code == 303
    forger.key = ECKey.generate_key("P-256", auto_kid=True)
    assert come_back(studio, forger).status_code == 303


def test_a_provider_under_another_name_is_refused(forged: tuple[Forger, Running]) -> None:
    forger, studio = forged
    forger.metadata = {"issuer": "https://evil.example"}
    answer = studio.browser().get("/login/oidc")
    assert answer.status_code == 502
    assert "calls itself https://evil.example" in answer.text


def test_a_broken_provider_is_a_sentence(forged: tuple[Forger, Running]) -> None:
    forger, studio = forged
    forger.answer = lambda _: JSONResponse({"error": "server_error"}, 400)
    assert "refused the sign-in (server_error)" in come_back(studio, forger).text
    forger.answer = lambda _: JSONResponse({"error": "server_error"}, 500)
    assert refused(come_back(studio, forger), studio, 502)


def test_a_stranger_is_verified_and_still_stays_outside(forged: tuple[Forger, Running]) -> None:
    forger, studio = forged
    # The same address under another account is another person.
    claims = forger.claims(sub="someone-else", iat=int(time.time()))
    forger.answer = lambda asked: tokens(forger.sign({**claims, "nonce": asked["nonce"]}))
    answer = come_back(studio, forger)
    assert answer.status_code == 403
    assert "no organisation here knows you" in answer.text
    assert sessions_open(studio) == 0
