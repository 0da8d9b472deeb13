"""A studio with its pages, Chromium, and for each test a creator of their own with $10.

The page fixture watches: a request to anywhere but the studio, a script error or a breach of the
content security policy fails the test that caused it.
"""

import asyncio
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest
from at_create import open_page, worker_is_there
from atelier_at_work import Work, agree
from factories import team
from fastapi import FastAPI
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)
from psycopg import sql
from running import Running, free_port, serve

from webapp.app import create_app
from webapp.host.servers import Server
from webapp.identity import cookie_name
from webapp.settings import Settings, read_settings
from webapp.sso import sessions
from webapp.sso.sessions import ProviderSession

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_MS = 20_000  # the slowest machine that shares its cores; a test that passes never waits for it


@pytest.fixture(scope="session")
def studio(
    postgres: Server, broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One studio for all browser tests: building its Gradio pages takes seconds."""
    state = tmp_path_factory.mktemp("studio")
    for model in ("pocket-turbo", "pocket-raw"):
        (state / "weights" / model).mkdir(parents=True)
        (state / "weights" / model / "model_index.json").write_text("{}")
    port = free_port()
    settings = read_settings(
        {
            "ATELIER_PORT": str(port),
            "ATELIER_STATE": str(state),
            "ATELIER_WEIGHTS": str(state / "weights"),
            "DATABASE_URL": new_database(postgres),
            "BROKER_URL": broker_url,
        }
    )
    app = asyncio.run(built(settings))
    with ExitStack() as stack:
        stack.enter_context(serve(app, port))
        yield Running(settings, app, stack)


async def built(settings: Settings) -> FastAPI:
    """Build the app in a loop: where none runs, Gradio opens one a lock and closes none."""
    return create_app(settings)


def new_database(postgres: Server) -> str:
    """Clone the migrated template once; the server's folder is thrown away after the run."""
    name = f"browser_{uuid.uuid4().hex}"
    admin = postgres.url.replace("/atelier?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE atelier").format(sql.Identifier(name))
        )
    return postgres.url.replace("/atelier?", f"/{name}?")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Headless Chromium that can resolve no name but this machine's.

    One a file: while Playwright lives, its event loop counts as this thread's running one, and
    a test of another room that comes after could not start its own.
    """
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None and "CI" not in os.environ:
        pytest.skip("no Chromium on this machine: install the package `chromium`")
    assert path, "the browser tests need Chromium; install the package `chromium`"
    expect.set_options(timeout=WAIT_MS)  # which knows nothing of its context's patience
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", rules])
        yield browser
        browser.close()


@pytest.fixture
def work(studio: Running) -> Work:
    """A creator whom no other test knows, who has accepted the agreements; a worker is there."""
    work = Work(studio, team(studio.database).creator)
    agree(work, work.member)
    worker_is_there(studio, is_there=True)
    return work


@pytest.fixture
def context(chromium: Browser, work: Work) -> Iterator[BrowserContext]:
    """A signed-in browser; what it must never do is checked at the end."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT_MS)
    sign_in(context, work)
    faults: list[str] = []
    own = (work.running.settings.url, "data:", "blob:")

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            faults.append(message.text)

    context.on("request", lambda asked: asked.url.startswith(own) or faults.append(asked.url))
    context.on("console", note)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    yield context
    context.close()
    assert not faults, faults


def sign_in(context: BrowserContext, work: Work) -> None:
    """Give the browser a session, as the end of a sign-in does."""
    member = work.member
    at_provider = ProviderSession(
        "demo", member.issuer, member.subject, None, "", None, None, renew_at=None
    )
    with work.running.database.transaction() as session:
        value = sessions.open_session(session, member, at_provider, lifetime=timedelta(hours=1))
    url = work.running.settings.url
    context.add_cookies([{"name": cookie_name(work.running.settings), "value": value, "url": url}])


@pytest.fixture
def page(context: BrowserContext, work: Work) -> Page:
    return open_page(context, work)
