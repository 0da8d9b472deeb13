"""Open streams end when the session behind them does; pages stay closed without one."""

import uuid
from collections.abc import Callable, Collection
from threading import Event

import pytest
from running import Running, sign_in
from sqlalchemy import delete
from sqlalchemy.orm import Session

from licensing import roster
from licensing.seats import Role
from webapp import door
from webapp.door import without_page
from webapp.sso.sessions import WebSession, end_sessions, live_roles

STREAM_SECONDS_MAX = 20.0  # a fault would keep the stream open for ever


def sign_out(studio: Running) -> None:
    with studio.database.transaction() as session:
        end_sessions(session, studio.member("demo-creator").id)


def suspend(studio: Running) -> None:
    with studio.database.transaction() as session:
        roster.suspend(session, studio.member("demo-admin"), studio.member("demo-creator").id)


def change_role(studio: Running) -> None:
    creator, admin = studio.member("demo-creator"), studio.member("demo-admin")
    with studio.database.transaction() as session:
        roster.change_role(session, admin, creator.id, Role.FINANCE)


def delete_rows(studio: Running) -> None:
    with studio.database.transaction() as session:
        session.execute(delete(WebSession))


@pytest.mark.parametrize("end", [sign_out, suspend, change_role, delete_rows])
def test_an_open_stream_ends_with_its_session(
    demo_studio: Running, end: Callable[[Running], None]
) -> None:
    browser = demo_studio.browser(accept="text/event-stream")
    sign_in(browser)
    with browser.stream("GET", "/events", timeout=STREAM_SECONDS_MAX) as stream:
        assert stream.status_code == 200
        end(demo_studio)
        for _ in stream.iter_raw():
            pass  # ends without an error: the response was closed in good order


def test_a_stream_that_opens_while_sessions_are_looked_at_stays_open(
    demo_studio: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, let_go = Event(), Event()

    def read_slowly(session: Session, session_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Role]:
        live = live_roles(session, session_ids)
        looked.set()
        let_go.wait(STREAM_SECONDS_MAX)
        return live

    first, second = (demo_studio.browser(accept="text/event-stream") for _ in range(2))
    sign_in(first)
    sign_in(second)
    monkeypatch.setattr(door, "live_roles", read_slowly)
    with first.stream("GET", "/events", timeout=STREAM_SECONDS_MAX) as one:
        assert one.status_code == 200
        assert looked.wait(STREAM_SECONDS_MAX)
        with second.stream("GET", "/events", timeout=STREAM_SECONDS_MAX) as other:
            assert other.status_code == 200
            text = other.iter_text()
            while "event: snapshot" not in next(text):
                pass
            let_go.set()
            # It says something every two seconds; one that was cut would end here.
            assert [next(text) for _ in range(3)]


def test_a_stream_needs_a_session(demo_studio: Running) -> None:
    browser = demo_studio.browser(accept="text/event-stream")
    assert browser.get("/events").status_code == 401
    assert browser.get("/create/gradio_api/queue/data?session_hash=x").status_code == 401


def test_everything_under_a_page_needs_a_session(demo_studio: Running) -> None:
    browser = demo_studio.browser(accept="*/*")
    for path in (
        "/create/config",
        "/create/gradio_api/heartbeat/x",
        "/create/gradio_api/startup-events",
        "/team/gradio_api/mcp/",
        "/finance/theme.css",
        "/review/gradio_api/app_id",
    ):
        assert browser.get(path).status_code == 401, path
    for path in (
        "/create/gradio_api/cancel",
        "/create/gradio_api/reset",
        "/team/gradio_api/upload",
    ):
        assert browser.post(path, json={}).status_code == 401, path


def test_the_page_parameter_of_gradio_does_not_pass_the_door() -> None:
    assert without_page(b"page=x") == b""
    assert without_page(b"q=a%26b&%70age=x&part=2") == b"q=a%26b&part=2"
    assert without_page(b"q=a+b&pages=2&x") == b"q=a+b&pages=2&x"
