"""GET /events: what a page is told, to whom, and when it stops."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import psycopg
import pytest
from atelier_at_work import PREVIEW, Work, open_work

from inference import lifecycle, presence
from licensing import roster
from webapp import generate
from webapp.sso import sessions
from webapp.stream import STREAMS_MAX

Message = tuple[str, dict[str, Any], str | None]


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


@contextmanager
def listening(client: httpx2.Client, **headers: str) -> Iterator[Iterator[Message]]:
    """Open the stream; the iterator waits for the next message, and ends when the stream does."""
    with client.stream("GET", "/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield messages(answer)


def messages(answer: httpx2.Response) -> Iterator[Message]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], json.loads(fields["data"]), fields.get("id")
            fields = {}
        else:
            fields = {}


def until(stream: Iterator[Message], kind: str, **wanted: object) -> Message:
    """Read on to the next message of this kind whose job has these values."""
    for message in stream:
        told = {**message[1], **message[1].get("job", {})}
        if message[0] == kind and wanted.items() <= told.items():
            return message
    raise AssertionError(f"the stream ended without {kind} {wanted}")


def test_a_page_follows_its_job_from_queue_to_picture(work: Work) -> None:
    with listening(work.client()) as stream:
        _, first, _ = next(stream)
        assert (first["jobs"], first["gallery"]["jobs"]) == ([], [])
        assert first["studio"]["balance"] == "$25.00"
        job = work.submit("a red apple")
        _, told, _ = until(stream, "job", state="queued")
        assert (told["job"]["prompt"], told["job"]["position"]) == ("a red apple", 1)
        until(stream, "studio", balance="$24.985")
        claimed = work.claim(job)
        until(stream, "job", state="running")
        work.step(claimed, 1)
        _, step, _ = until(stream, "step")
        assert step == {"id": str(job.id), "step": 1, "steps": 8, "preview": PREVIEW}
        work.finish(claimed)
        _, told, _ = until(stream, "job", state="finished", said="Your picture is ready.")
        (picture,) = told["job"]["pictures"]
        assert work.client().get(f"/media/{picture['id']}").status_code == 200


def test_a_second_tab_and_a_reload_find_the_running_job(work: Work) -> None:
    claimed = work.claim(work.submit("a red apple"))
    work.step(claimed, 3)
    for client in (work.client(), work.client()):
        with listening(client) as stream:
            _, first, _ = next(stream)
            (job,) = first["jobs"]
            assert (job["state"], job["step"], job["steps"]) == ("running", 3, 8)
            assert job["preview"] == PREVIEW


def test_what_was_missed_is_told_when_the_page_comes_back(work: Work) -> None:
    client = work.client()
    with listening(client) as stream:
        _, _, seen = next(stream)
    assert seen is not None
    claimed = work.claim(work.submit())
    work.step(claimed, 1)
    work.finish(claimed)
    with listening(client, **{"last-event-id": seen}) as stream:
        kinds = [next(stream)[0] for _ in range(4)]
    assert kinds == ["job", "job", "step", "job"]


@pytest.mark.parametrize("nonsense", ["-1", "x", "9" * 30, "1; DROP TABLE event"])
def test_a_page_that_says_nonsense_begins_anew(work: Work, nonsense: str) -> None:
    with listening(work.client(), **{"last-event-id": nonsense}) as stream:
        assert next(stream)[0] == "snapshot"


def test_a_stranger_hears_nothing_of_a_job(work: Work) -> None:
    mine = work.submit("my secret wish")
    with listening(work.client("demo-reviewer"), **{"last-event-id": "0"}) as stream:
        work.finish(work.claim(mine))
        _, told, _ = until(stream, "studio", balance="$24.985")
        assert "secret" not in json.dumps(told)
    with listening(work.client("demo-reviewer")) as stream:
        _, first, _ = next(stream)
        assert (first["jobs"], first["gallery"]["jobs"]) == ([], [])


def test_cancelled_and_failed_jobs_say_what_happened(work: Work) -> None:
    with listening(work.client()) as stream:
        next(stream)
        generate.cancel(work.running.studio, work.member, work.submit().id)
        until(stream, "job", state="cancelled", said="Cancelled. Nothing was charged.")
        claimed = work.claim(work.submit())
        with work.running.database.transaction() as session:
            lifecycle.fail(session, claimed, code="out_of_memory", message="Try a smaller size.")
        _, told, _ = until(stream, "job", state="failed", said="Try a smaller size.")
        assert told["job"]["error"] == "Try a smaller size."
    with listening(work.client()) as stream:
        _, first, _ = next(stream)
        assert [job["state"] for job in first["jobs"]] == ["failed"], "the newest is shown again"


def test_without_a_worker_the_page_says_that_the_job_waits(work: Work) -> None:
    job = work.submit()
    with listening(work.client()) as stream:
        _, first, _ = next(stream)
        assert "No worker is running" in first["studio"]["worker"]
        assert "waits" in first["studio"]["queue"][str(job.id)]["waiting"]
        with work.running.database.transaction() as session:
            said = presence.Report("w", "cpu", "ready", models={"pocket-turbo": None})
            presence.report(session, said)
        until(stream, "studio", worker=None)


def test_the_stream_ends_when_the_session_does(work: Work) -> None:
    with listening(work.client()) as stream:
        next(stream)
        with work.running.database.transaction() as session:
            sessions.end_sessions(session, work.member.id)
        list(stream)


def test_the_stream_ends_when_the_member_is_suspended(work: Work) -> None:
    with listening(work.client()) as stream:
        next(stream)
        with work.running.database.transaction() as session:
            roster.suspend(session, work.running.member("demo-admin"), work.member.id)
        list(stream)


def test_a_restarted_database_interrupts_nothing_but_the_moment(work: Work) -> None:
    claimed = work.claim(work.submit())
    with listening(work.client()) as stream:
        next(stream)
        with psycopg.connect(work.running.database.url, autocommit=True) as admin:
            admin.execute(
                # Waits until each is gone: what is asked of a server in that moment is lost.
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        work.step(claimed, 1)
        _, step, _ = until(stream, "step")
        assert step["step"] == 1


def test_one_person_cannot_open_streams_without_end(work: Work) -> None:
    client = work.client()
    with ExitStack() as opened:
        streams = [opened.enter_context(listening(client)) for _ in range(STREAMS_MAX)]
        assert [next(stream)[0] for stream in streams] == ["snapshot"] * STREAMS_MAX
        refused = client.get("/events")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_streams")


def test_without_a_session_there_is_no_stream(work: Work) -> None:
    answer = work.running.browser(accept="text/event-stream").get("/events")
    assert answer.status_code == 401
