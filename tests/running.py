"""A running studio for the tests of the web side: real server, real database, real sign-in."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import httpx2
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from licensing.db import Database
from licensing.seats import Member
from webapp.app import create_app
from webapp.settings import Settings, read_settings
from webapp.studio import Studio

START_SECONDS_MAX = 30.0
PORTS, TRIES = range(12_000, 32_000), 20


@dataclass(frozen=True)
class Running:
    """A studio that answers at `settings.url`, without its Gradio pages."""

    settings: Settings
    app: FastAPI
    stack: ExitStack

    @property
    def studio(self) -> Studio:
        studio = self.app.state.studio
        assert isinstance(studio, Studio)
        return studio

    @property
    def database(self) -> Database:
        return self.studio.database

    def browser(self, **headers: str) -> httpx2.Client:
        """Return a client with a cookie jar that asks as a browser's navigation does."""
        return self.stack.enter_context(
            httpx2.Client(
                base_url=self.settings.url,
                headers={"accept": "text/html", "origin": self.settings.url, **headers},
                trust_env=False,
                timeout=30,
            )
        )

    def member(self, subject: str) -> Member:
        with self.database.read() as session:
            return session.scalars(select(Member).where(Member.subject == subject)).one()


def start(stack: ExitStack, environ: dict[str, str]) -> Running:
    """Start a studio that stops with `stack`."""
    port = free_port()
    settings = read_settings({"ATELIER_PORT": str(port), **environ})
    app = create_app(settings, with_pages=False)
    stack.enter_context(serve(app, port))
    return Running(settings, app, stack)


@contextmanager
def serve(app: FastAPI, port: int) -> Iterator[None]:
    """Run an application on a port of loopback for the length of the block."""
    config = uvicorn.Config(
        app, port=port, log_level="error", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS_MAX
    waiting = threading.Event()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server did not start in time"
        waiting.wait(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def free_port() -> int:
    """Return a port of loopback that nobody uses.

    Below those that the system gives to outgoing connections: one of them may be given away
    between this answer and the moment when a server takes the port.
    """
    for port in random.sample(PORTS, TRIES):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port of loopback is free")


def sign_in(
    browser: httpx2.Client, subject: str = "demo-creator", path: str = "/"
) -> httpx2.Response:
    """Go the whole way through the demo provider; return the answer that brings the session."""
    departure = browser.get("/login/demo", params={"next": path})
    assert departure.status_code == 302, departure.text
    chosen = browser.post(departure.headers["location"], data={"subject": subject})
    assert chosen.status_code == 303, chosen.text
    return browser.get(chosen.headers["location"])
