"""What no other site may do through a signed-in browser, and what every answer carries."""

import re
import resource
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest
from running import Running, free_port, serve, sign_in, start

from webapp.app import create_app
from webapp.security import BODY_BYTES_MAX
from webapp.settings import SettingsProblem, read_settings
from webapp.sso import demo_provider


@pytest.fixture
def browser(demo_studio: Running) -> httpx2.Client:
    browser = demo_studio.browser()
    sign_in(browser)
    return browser


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9"},
        {"origin": "null"},
        {"origin": "", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
    ids=str,
)
def test_another_site_cannot_act_through_the_browser(
    browser: httpx2.Client, headers: dict[str, str]
) -> None:
    answer = browser.post("/logout", headers=headers)
    assert answer.status_code == 403
    assert "came from another site" in answer.text
    assert browser.get("/").headers["location"] == "/create", "still signed in"


def test_another_site_cannot_read_but_may_link(browser: httpx2.Client) -> None:
    read = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "cors",
        "origin": "https://evil.example",
    }
    assert browser.get("/gallery", headers=read).status_code == 403
    plain = browser.get("/healthz", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in plain.headers
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "origin": ""}
    assert browser.get("/", headers=link).headers["location"] == "/create"


def test_our_own_pages_may_act(browser: httpx2.Client) -> None:
    own = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert browser.post("/logout", headers=own).status_code == 200


def test_another_host_name_is_refused_and_localhost_led_to_the_address(
    demo_studio: Running, browser: httpx2.Client
) -> None:
    rebound = browser.get("/", headers={"host": "evil.example"})
    assert rebound.status_code == 404
    assert f"answers at {demo_studio.settings.url} alone" in rebound.text
    port = demo_studio.settings.port
    moved = browser.get("/login?next=/finance", headers={"host": f"localhost:{port}"})
    assert moved.headers["location"] == f"{demo_studio.settings.url}/login?next=/finance"
    assert browser.post("/logout", headers={"host": f"localhost:{port}"}).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/create/gradio_api/file=http://127.0.0.1/",
        "/create/gradio_api/file=https://example.org/x.png",
        "/create/gradio_api/file=HTTP%3A%2F%2Fexample.org",
        "/create/gradio_api/file/ftp://example.org",
    ],
)
def test_the_server_fetches_no_address_that_a_browser_names(
    browser: httpx2.Client, path: str
) -> None:
    assert browser.get(path).status_code == 404


def test_a_body_over_the_limit_is_refused_however_it_comes(browser: httpx2.Client) -> None:
    stated = browser.post("/agreements", content=b"x" * (BODY_BYTES_MAX + 1))
    assert stated.status_code == 413
    assert "1,048,576 bytes" in stated.text

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 65_536

    form = {"content-type": "application/x-www-form-urlencoded"}
    assert browser.post("/agreements", content=pieces(), headers=form).status_code == 413


def test_every_answer_carries_the_safety_headers(browser: httpx2.Client) -> None:
    for path in ("/login", "/nothing-here", "/static/atelier.css", "/healthz"):
        headers = browser.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "unsafe-eval" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_errors_are_pages_for_people_and_json_for_programs(browser: httpx2.Client) -> None:
    page = browser.get("/nothing-here")
    assert (page.status_code, page.headers["cache-control"]) == (404, "no-store")
    assert "There is nothing here" in page.text
    program = browser.get("/nothing-here", headers={"accept": "application/json"})
    assert program.json() == {
        "error": {
            "code": "not_found",
            "message": "The address is wrong, or what was here is gone.",
        }
    }


def test_a_fault_of_ours_tells_nothing_of_its_cause(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    studio = start(stack, environ)

    def broken() -> None:
        raise RuntimeError("a secret of the code")

    studio.app.add_api_route("/broken", broken)
    answer = studio.browser().get("/broken")
    assert answer.status_code == 500
    assert "Something broke on our side" in answer.text
    assert "secret" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_database_that_is_away_is_a_sentence(stack: ExitStack, environ: dict[str, str]) -> None:
    studio = start(stack, {**environ, "DATABASE_URL": "postgresql://127.0.0.1:9/none"})
    browser = studio.browser(cookie="atelier_session=some-cookie")
    for path in ("/", "/create", "/login"):
        answer = browser.get(path)
        assert answer.status_code == 503
        assert "The database does not answer" in answer.text
    health = browser.get("/healthz")
    assert health.json()["state"] == "database"
    assert not re.search(r"server|socket|port|role|/", health.json()["detail"]), "anybody may ask"


REAL = {"OIDC_ISSUER": "https://id.example.org", "OIDC_CLIENT_ID": "atelier"}


def test_the_demo_provider_stays_on_loopback() -> None:
    for environ in (
        {"ATELIER_HOST": "192.0.2.1"},
        {"ATELIER_HOST": "0.0.0.0", "ATELIER_URL": "http://127.0.0.1:7860"},
        {"ATELIER_URL": "https://art.example.org"},
    ):
        with pytest.raises(SettingsProblem, match="set OIDC_ISSUER"):
            read_settings(environ)
    settings = read_settings({})
    with pytest.raises(SettingsProblem, match="loopback alone"):
        demo_provider.build_demo_provider(settings, "http://192.0.2.1:7860/demo-provider")
    with pytest.raises(SettingsProblem, match="beside a configured provider"):
        demo_provider.build_demo_provider(read_settings(REAL), "http://127.0.0.1:7860/demo")


def test_the_demo_provider_answers_nobody_from_elsewhere(demo_studio: Running) -> None:
    """Also not through a proxy on this machine, which says for whom it asks."""
    path = "/demo-provider/.well-known/openid-configuration"
    assert demo_studio.browser().get(path).status_code == 200
    forwarded = demo_studio.browser(**{"x-forwarded-for": "198.51.100.7"})
    assert forwarded.get(path).status_code == 403


def test_the_demo_provider_checks_as_a_real_one_does(demo_studio: Running) -> None:
    browser = demo_studio.browser()
    departure = browser.get("/login/demo").headers["location"]
    for wrong in (
        departure.replace("client_id=atelier", "client_id=other"),
        departure.replace("callback%2Fdemo", "callback%2Fevil"),
        departure.replace("S256", "plain"),
    ):
        assert browser.get(wrong).status_code == 400
        assert browser.post(wrong, data={"subject": "demo-admin"}).status_code == 400
    back = browser.post(departure, data={"subject": "demo-admin"}).headers["location"]
    code = httpx2.URL(back).params["code"]
    fields = {"grant_type": "authorization_code", "code": code, "code_verifier": "wrong"}
    wrong_proof = browser.post("/demo-provider/token", data=fields)
    assert wrong_proof.json() == {"error": "invalid_grant"}


def test_no_provider_is_reached_when_the_studio_is_told_of_a_real_one(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    port = free_port()
    settings = read_settings({**environ, **REAL, "ATELIER_PORT": str(port)})
    stack.enter_context(serve(create_app(settings, with_pages=False), port))
    answer = httpx2.get(f"{settings.url}/demo-provider/keys", trust_env=False)
    assert answer.status_code == 404


def test_a_disk_that_fills_up_leaves_no_half_key(environ: dict[str, str]) -> None:
    settings = read_settings(environ)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))  # every longer file is "disk full"
    try:
        with pytest.raises(OSError, match="too large"):
            demo_provider.build_demo_provider(settings, settings.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert demo_provider.build_demo_provider(settings, settings.url)
