"""Events: replayed in order, announced when committed, and only then."""

import psycopg
from jobs import Desk
from sqlalchemy import select

from inference import events, lifecycle
from inference.events import CHANNEL, STEPS_KEPT, Event
from licensing.db import now


def test_a_commit_wakes_the_listener_with_the_number_of_the_event(
    desk: Desk, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        generation = desk.queue()
        heard = [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)]
    with desk.database.read() as session:
        newest = events.last_id(session, desk.member.id)
        (queued,) = events.since(session, desk.member.id, 0)
    assert heard == [f"{desk.member.id}:{newest}"]
    assert (queued.generation_id, queued.kind) == (generation.id, "queued")


def test_a_rolled_back_event_is_neither_stored_nor_announced(desk: Desk, database_url: str) -> None:
    generation = desk.queue()
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        with desk.database.transaction() as session:
            lifecycle.claim(session, generation.id, "w1")
            session.rollback()
        with desk.database.transaction() as session:
            lifecycle.claim(session, generation.id, "w2")
        heard = list(listener.notifies(timeout=5, stop_after=1))
    with desk.database.read() as session:
        rows = events.since(session, desk.member.id, 0)
    assert [event.kind for event in rows] == ["queued", "started"]
    assert heard[0].payload.endswith(f":{rows[1].id}")


def test_a_reloaded_page_reads_on_after_its_last_number(desk: Desk) -> None:
    generation = desk.queue(images=2)
    with desk.database.transaction() as session:
        claimed = lifecycle.claim(session, generation.id, "w1")
        assert claimed is not None
    for step in (1, 2):
        with desk.database.transaction() as session:
            assert lifecycle.progress(session, claimed, step=step, steps=16, preview="x") == "go"
    with desk.database.read() as session:
        started, *rest = events.since(session, desk.member.id, 0)[1:]
        after = events.since(session, desk.member.id, started.id)
    assert started.data == {"steps": 16, "attempt": 1}
    assert [event.data for event in after] == [event.data for event in rest]
    assert [event.data["step"] for event in after] == [1, 2]
    assert desk.read(generation.id).steps_done == 2


def test_old_previews_are_dropped_and_the_story_is_kept(desk: Desk) -> None:
    generation = desk.queue()
    with desk.database.transaction() as session:
        claimed = lifecycle.claim(session, generation.id, "w1")
        assert claimed is not None
        lifecycle.progress(session, claimed, step=1, steps=8, preview="x")
    for moment, left in ((now(), 3), (now() + 2 * STEPS_KEPT, 2)):
        with desk.database.transaction() as session:
            events.prune(session, moment)
            assert len(session.scalars(select(Event)).all()) == left
