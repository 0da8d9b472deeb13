"""The whole sign-in through the demo provider: pages, cookie, session, sign-out."""

import re
from contextlib import ExitStack
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from running import Running, sign_in, start
from sqlalchemy import func, select, update
from starlette.responses import Response

from licensing import invites, roster
from licensing.db import now
from licensing.seats import Role
from webapp import demo
from webapp.identity import set_session_cookie
from webapp.settings import read_settings
from webapp.sso import attempts
from webapp.sso.attempts import SignInAttempt
from webapp.sso.sessions import WebSession
from webapp.sso.sign_in import attempt_cookie, safe_next


@pytest.mark.parametrize(
    ("subject", "home"),
    [
        ("demo-creator", "/create"),
        ("demo-admin", "/team"),
        ("demo-finance", "/finance"),
        ("demo-reviewer", "/review"),
    ],
)
def test_a_person_signs_in_and_lands_on_the_page_of_their_role(
    demo_studio: Running, subject: str, home: str
) -> None:
    browser = demo_studio.browser()
    first = browser.get("/")
    assert first.headers["location"] == "/login?next=%2F"
    assert "Continue with the demo provider" in browser.get(first.headers["location"]).text
    arrived = sign_in(browser, subject)
    assert (arrived.status_code, arrived.headers["location"]) == (303, home)
    assert browser.get("/").headers["location"] == home
    assert browser.get("/login").headers["location"] == home, "who is signed in goes on"


def test_the_provider_is_asked_with_state_nonce_and_pkce(demo_studio: Running) -> None:
    departure = demo_studio.browser().get("/login/demo")
    asked = parse_qs(urlsplit(departure.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["response_type"] == ["code"]
    assert all(len(asked[name][0]) >= 20 for name in ("state", "nonce", "code_challenge"))


def test_the_cookie_is_random_closed_to_scripts_and_stored_nowhere(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    cookie = sign_in(browser).headers["set-cookie"]
    value = re.match(r"atelier_session=([\w-]{43});", cookie)
    assert value
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    with demo_studio.database.read() as session:
        row = session.scalars(select(WebSession)).one()
    assert value[1] not in str(vars(row))


def test_over_https_the_cookie_is_secure_and_bound_to_the_host(environ: dict[str, str]) -> None:
    provider = {"OIDC_ISSUER": "https://id.example.org", "OIDC_CLIENT_ID": "atelier"}
    settings = read_settings({**environ, **provider, "ATELIER_URL": "https://art.example.org"})
    response = Response()
    set_session_cookie(response, settings, "value")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-atelier_session=value;")
    assert "Secure" in cookie
    assert attempt_cookie(settings).startswith("__Host-"), "nor may others begin a sign-in here"


def test_signing_in_again_gives_a_new_session_and_ends_the_old(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    sign_in(browser)
    old = browser.cookies["atelier_session"]
    sign_in(browser, "demo-finance")
    assert browser.cookies["atelier_session"] != old
    with demo_studio.database.read() as session:
        assert session.scalars(select(WebSession.subject)).all() == ["demo-finance"]


def test_two_tabs_can_sign_in_at_the_same_time(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    departures = [browser.get("/login/demo").headers["location"] for _ in range(2)]
    for departure in departures:
        back = browser.post(departure, data={"subject": "demo-creator"}).headers["location"]
        assert browser.get(back).headers["location"] == "/create"


@pytest.mark.parametrize(
    "given",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/login/demo",
        "/logout",
        "/\tcreate",
        "/" + "a" * 600,
        "",
        None,
    ],
)
def test_a_sign_in_leads_nowhere_else(given: str | None) -> None:
    assert safe_next(given) == "/"


def test_a_sign_in_leads_back_to_where_the_person_was(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    sent = browser.get("/finance?month=2026-11")
    assert sent.headers["location"] == "/login?next=%2Ffinance%3Fmonth%3D2026-11"
    assert sign_in(browser, "demo-finance", "/finance?month=2026-11").headers["location"] == (
        "/finance?month=2026-11"
    )


def test_a_flood_of_departures_keeps_a_bounded_number_of_rows(
    demo_studio: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "ATTEMPTS_MAX", 3)
    for _ in range(5):
        assert demo_studio.browser().get("/login/demo").status_code == 302
    with demo_studio.database.read() as session:
        assert session.scalar(select(func.count()).select_from(SignInAttempt)) == 3
    assert sign_in(demo_studio.browser()).headers["location"] == "/create", "the newest stay"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/login/demo?invite=%00", 422),
        (f"/login/demo?invite={'a' * 65}", 404),
        ("/callback/demo?state=%00", 422),
    ],
)
def test_nonsense_in_a_sign_ins_address_is_no_fault_of_ours(
    demo_studio: Running, path: str, status: int
) -> None:
    browser = demo_studio.browser()
    browser.get("/login/demo")
    assert browser.get(path).status_code == status


def test_signing_out_ends_the_session_here_and_at_the_provider(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    sign_in(browser)
    cookie = browser.cookies["atelier_session"]
    assert browser.get("/logout").status_code == 405, "a link must not sign anybody out"
    answer = browser.post("/logout")
    onward = re.search(r"url=([^\"]+)\"", answer.text)
    assert onward
    assert "/demo-provider/logout?id_token_hint=" in onward[1]
    assert "atelier_session" not in browser.cookies
    end = browser.get(onward[1].replace("&amp;", "&"))
    assert "You are signed out" in browser.get(end.headers["location"]).text
    thief = demo_studio.browser(cookie=f"atelier_session={cookie}")
    assert thief.get("/").headers["location"].startswith("/login")


def test_an_ended_session_says_so(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    sign_in(browser)
    with demo_studio.database.transaction() as session:
        session.execute(update(WebSession).values(expires_at=now() - timedelta(seconds=1)))
    sent = browser.get("/create")
    assert sent.headers["location"] == "/login?next=%2Fcreate&reason=ended"
    assert "Your session has ended" in browser.get(sent.headers["location"]).text
    script = browser.get("/create/config", headers={"accept": "*/*"})
    assert script.status_code == 401
    assert script.json()["error"]["code"] == "signed_out"


def test_suspension_and_removal_hold_at_the_next_request(demo_studio: Running) -> None:
    admin = demo_studio.member("demo-admin")
    for subject, verb in (("demo-creator", roster.suspend), ("demo-finance", roster.remove)):
        browser = demo_studio.browser()
        home = sign_in(browser, subject).headers["location"]
        member = demo_studio.member(subject)
        with demo_studio.database.transaction() as session:
            verb(session, admin, member.id)
        assert browser.get(home).headers["location"].startswith("/login")
        refused = sign_in(browser, subject)
        assert refused.status_code == 403
        assert "atelier_session" not in refused.headers.get("set-cookie", "")


def test_a_page_of_another_role_is_closed(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    sign_in(browser, "demo-creator")
    for path in ("/team", "/finance/", "/review/gradio_api/heartbeat/x", "/team/gradio_api/reset"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "not part of your role (creator)" in answer.text


def test_the_first_picture_waits_for_the_agreements(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    sign_in(browser)
    sent = browser.get("/create")
    assert sent.headers["location"] == "/agreements?next=%2Fcreate"
    shown = browser.get(sent.headers["location"])
    boxes = re.findall(r'name="accept" value="(\w+)"', shown.text)
    assert len(boxes) == 2
    half = browser.post(sent.headers["location"], data={"accept": boxes[:1]})
    assert half.status_code == 422
    assert re.findall(r'name="accept" value="(\w+)"', half.text) == boxes[1:]
    done = browser.post(sent.headers["location"], data={"accept": boxes[1:]})
    assert (done.status_code, done.headers["location"]) == (303, "/create")
    assert "What you have agreed to" in browser.get("/agreements").text


def test_the_first_owner_founds_the_organisation_and_invites_by_link(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    studio = start(stack, {**environ, "ATELIER_OWNER_EMAIL": "Adaeze@demo.example"})
    stranger = sign_in(studio.browser(), "demo-creator")
    assert stranger.status_code == 403
    assert "Ask an admin to invite cleo@demo.example" in stranger.text
    assert sign_in(studio.browser(), "demo-admin").headers["location"] == "/create"
    owner = studio.member("demo-admin")
    assert owner.role == Role.OWNER
    with studio.database.transaction() as session:
        _, token = invites.invite(
            session, owner, email="fumiko@demo.example", role=Role.FINANCE, seated=False
        )
    browser = studio.browser()
    offered = re.search(r'href="(/login/demo\?[^"]+)"', browser.get(f"/invite/{token}").text)
    assert offered
    departure = browser.get(offered[1].replace("&amp;", "&"))
    back = browser.post(departure.headers["location"], data={"subject": "demo-finance"})
    assert browser.get(back.headers["location"]).headers["location"] == "/finance"
    assert studio.member("demo-finance").role == Role.FINANCE


def test_the_demonstration_is_seeded_once(demo_studio: Running) -> None:
    assert demo.seed(demo_studio.database) is False


def test_several_providers_each_have_a_button(stack: ExitStack, environ: dict[str, str]) -> None:
    studio = start(
        stack,
        {
            **environ,
            "OIDC_ISSUER": "https://id.example.org",
            "OIDC_CLIENT_ID": "atelier",
            "OIDC_NAME": "Example Accounts",
            "OIDC_2_ISSUER": "https://login.example.net",
            "OIDC_2_CLIENT_ID": "atelier",
        },
    )
    page = studio.browser().get("/login").text
    assert 'href="/login/oidc?next=%2F">Continue with Example Accounts' in page
    assert 'href="/login/oidc-2?next=%2F">Continue with login.example.net' in page
    assert "demonstration" not in page
    assert studio.browser().get("/login/demo").status_code == 404
