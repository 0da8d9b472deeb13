"""The whole sign-in against a standard provider that somebody else wrote, with nothing between."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urljoin

import anyio
import httpx2
import pytest
from running import Running, free_port, start
from sqlalchemy import select, update

from licensing.db import now
from licensing.seats import Role
from webapp.sso.renewal import renew_due
from webapp.sso.sessions import WebSession

PACKAGE = "oidc-provider@9.13.3"
SCRIPT = Path(__file__).parent / "real_provider.mjs"


@dataclass(frozen=True)
class Standard:
    """A provider at `issuer` and the studio that trusts it."""

    issuer: str
    studio: Running


@pytest.fixture(scope="session")
def node_modules(pytestconfig: pytest.Config) -> Path:
    """Where the provider's package is installed; kept between runs."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed here, so the standard provider cannot be had")
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("oidc-provider")
    if not (folder / "node_modules" / "oidc-provider").exists():
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", PACKAGE]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            pytest.skip(f"npm could not install {PACKAGE}: {made.stderr.strip()[-300:]}")
    return folder


@pytest.fixture
def standard(stack: ExitStack, environ: dict[str, str], node_modules: Path) -> Standard:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    studio = start(
        stack,
        {
            **environ,
            "OIDC_ISSUER": issuer,
            "OIDC_CLIENT_ID": "atelier",
            "OIDC_CLIENT_SECRET": "a-secret-of-the-tests",
            "OIDC_SCOPES": "openid email profile offline_access",
            "ATELIER_OWNER_EMAIL": "cleo@example.org",
        },
    )
    stack.enter_context(provider_process(node_modules, port, studio.settings.url))
    return Standard(issuer, studio)


@contextmanager
def provider_process(folder: Path, port: int, studio_url: str) -> Iterator[None]:
    script = shutil.copy(SCRIPT, folder)  # a module is looked for beside the script
    command = ["node", script, str(port), studio_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, b"")
        assert any(line.strip() == b"ready" for line in lines), "the provider did not start"
        yield
        process.kill()


def follow(browser: httpx2.Client, answer: httpx2.Response) -> httpx2.Response:
    """Follow redirects across both sites until a page comes, as a browser does."""
    while answer.is_redirect:
        answer = browser.get(urljoin(str(answer.url), answer.headers["location"]))
    return answer


def sign_in(standard: Standard, account: str) -> tuple[httpx2.Client, httpx2.Response]:
    """Fill in the provider's own pages; return the browser and the answer of our callback."""
    browser = standard.studio.browser()
    del browser.headers["origin"]
    page = follow(browser, browser.get("/login/oidc"))
    form = {"prompt": "login", "login": account, "password": "any"}
    while "/callback/" not in str(page.url):
        action = re.search(r'action="([^"]+)"', page.text)
        assert action, page.text
        answer = browser.post(urljoin(str(page.url), action[1]), data=form)
        form = {"prompt": "consent"}
        while answer.is_redirect:
            target = urljoin(str(answer.url), answer.headers["location"])
            answer = browser.get(target)
            if "/callback/" in target:
                return browser, answer
        page = answer
    raise AssertionError("the provider never came back")


def is_signed_in(browser: httpx2.Client) -> bool:
    return not browser.get("/").headers["location"].startswith("/login")


def row(standard: Standard) -> WebSession:
    with standard.studio.database.read() as session:
        return session.scalars(select(WebSession)).one()


def renew(standard: Standard) -> int:
    """Let the access token run out, and do what the running studio does about it."""
    with standard.studio.database.transaction() as session:
        past = now() - timedelta(seconds=1)
        session.execute(update(WebSession).values(renew_at=past, renewing_until=None))
    return renew_what_is_due(standard)


def renew_what_is_due(standard: Standard) -> int:
    # On a thread of its own: where browser tests ran before, this one keeps their event loop.
    with ThreadPoolExecutor(1) as thread:
        clients = standard.studio.app.state.clients
        return thread.submit(anyio.run, renew_due, standard.studio.studio, clients).result()


def test_a_person_signs_in_and_their_profile_is_known(standard: Standard) -> None:
    browser, answer = sign_in(standard, "cleo")
    assert answer.headers["location"] == "/create"
    assert is_signed_in(browser)
    member = standard.studio.member("cleo")
    assert (member.email, member.role, member.issuer) == (
        "cleo@example.org",
        Role.OWNER,
        standard.issuer,
    )


def test_somebody_without_an_invite_stays_outside(standard: Standard) -> None:
    sign_in(standard, "cleo")
    browser, answer = sign_in(standard, "mallory")
    assert answer.status_code == 403
    assert not is_signed_in(browser)


def test_tokens_are_renewed_with_rotation_again_and_again(standard: Standard) -> None:
    browser, _ = sign_in(standard, "cleo")
    seen = [row(standard)]
    assert seen[0].refresh_token
    assert seen[0].renew_at
    for _ in range(2):
        assert renew(standard) == 1
        seen.append(row(standard))
    assert len({r.refresh_token for r in seen}) == 3
    assert len({r.access_token for r in seen}) == 3
    assert seen[-1].renewing_until is None
    assert seen[-1].renew_at
    assert seen[-1].renew_at > now()
    assert renew_is_quiet(standard)
    assert is_signed_in(browser)


def renew_is_quiet(standard: Standard) -> bool:
    """Whether nothing is asked of the provider before a token runs out."""
    done = renew_what_is_due(standard)
    return done == 0


def test_an_account_closed_at_the_provider_ends_the_session(standard: Standard) -> None:
    browser, _ = sign_in(standard, "cleo")
    assert httpx2.put(f"{standard.issuer}/closed/cleo", trust_env=False).status_code == 204
    renew(standard)
    assert not is_signed_in(browser)


def test_a_provider_that_is_away_ends_nothing(standard: Standard) -> None:
    browser, _ = sign_in(standard, "cleo")
    before = row(standard)
    standard.studio.app.state.clients.create_client("oidc").server_metadata["token_endpoint"] = (
        "http://127.0.0.1:9/token"
    )
    assert renew(standard) == 1
    after = row(standard)
    assert after.refresh_token == before.refresh_token
    assert after.renewing_until, "it is asked again when the lease has run out"
    assert is_signed_in(browser)


def test_signing_out_here_signs_out_there_and_everywhere(standard: Standard) -> None:
    browser, _ = sign_in(standard, "cleo")
    onward = re.search(r"url=([^\"]+)\"", browser.post("/logout").text)
    assert onward
    asked = browser.get(onward[1].replace("&amp;", "&"))
    form = re.search(r'action="([^"]+)".*?name="xsrf" value="([^"]+)"', asked.text, re.DOTALL)
    assert form, asked.text
    done = browser.post(form[1], data={"xsrf": form[2], "logout": "yes"})
    assert "You are signed out" in follow(browser, done).text
    page = follow(browser, browser.get("/login/oidc"))
    assert 'name="login"' in page.text, "the provider asks who it is again"


def test_a_sign_out_at_the_provider_ends_our_session_through_the_back_channel(
    standard: Standard,
) -> None:
    browser, _ = sign_in(standard, "cleo")
    assert is_signed_in(browser)
    # The person signs out at the provider itself; our site is not asked in this browser.
    asked = browser.get(f"{standard.issuer}/session/end")
    form = re.search(r'action="([^"]+)".*?name="xsrf" value="([^"]+)"', asked.text, re.DOTALL)
    assert form, asked.text
    browser.post(form[1], data={"xsrf": form[2], "logout": "yes"})
    assert browser.get("/").headers["location"] == "/login?next=%2F&reason=ended"
