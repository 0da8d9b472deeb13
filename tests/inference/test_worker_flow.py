"""The worker's one task, from claim to settlement, with a fake engine and the real rest."""

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from jobs import TOP_UP_MICROS, Desk, away, wait_until
from PIL import Image
from sqlalchemy import select

from inference import events, generations, lifecycle, models, presence
from inference.attempt import Attempt
from inference.generations import Generation
from inference.job import generate
from inference.process import WorkerProcess
from licensing import roster
from licensing.errors import NotFound
from licensing.moderation import Verdict

PRICE_MICROS = 15_000


def workers(desk: Desk) -> list[str]:
    with desk.database.read() as session:
        return [worker.name for worker in presence.alive(session)]


def kinds(desk: Desk, generation: Generation) -> list[str]:
    with desk.database.read() as session:
        return [event.kind for event in events.of_generation(session, generation.id)]


def files(process: WorkerProcess) -> list[Path]:
    return sorted(process.storage.root.rglob("*.*"))


def test_a_picture_goes_the_whole_way(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue(images=2, seed=41)
    generate(process, generation.id)
    row = desk.read(generation.id)
    assert (row.state, row.steps_done, row.steps_total) == ("finished", 16, 16)
    assert desk.balance().settled_micros == TOP_UP_MICROS - 2 * PRICE_MICROS
    assert desk.balance().held_micros == 0
    assert [picture.seed for picture in row.pictures] == [41, 42]
    for picture in row.pictures:
        with Image.open(process.storage.path(str(picture.key))) as original:
            assert original.size == (128, 128)
            assert str(generation.id) in str(original.info)
        assert process.storage.read(str(picture.thumbnail_key))[8:12] == b"WEBP"
    story = kinds(desk, generation)
    assert story[:3] == ["queued", "started", "loading"]
    assert story[3:] == ["step"] * 16 + ["saved", "finished"]
    with desk.database.read() as session:
        step = events.of_generation(session, generation.id)[-3].data
        judged = session.scalars(select(Verdict)).all()
    assert (step["step"], step["steps"]) == (16, 16)
    assert step["preview"].startswith("data:image/webp;base64,")
    assert [(verdict.action, verdict.picture_index) for verdict in judged] == [
        ("allow", 0),
        ("allow", 1),
    ]


def test_a_second_message_does_nothing(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue()
    generate(process, generation.id)
    generate(process, generation.id)
    assert desk.balance().settled_micros == TOP_UP_MICROS - PRICE_MICROS
    assert len(files(process)) == 2


def test_a_partly_refused_set_is_charged_for_what_was_delivered(
    desk: Desk, process: WorkerProcess
) -> None:
    generation = desk.queue("refuse 1", images=3)
    generate(process, generation.id)
    row = desk.read(generation.id)
    assert [picture.refused for picture in row.pictures] == [False, True, False]
    assert row.charged_micros == 2 * PRICE_MICROS
    assert desk.balance().available_micros == TOP_UP_MICROS - 2 * PRICE_MICROS
    assert len(files(process)) == 6, "the refused one is kept, for the reviewer alone"
    with desk.database.read() as session, pytest.raises(NotFound):
        generations.access_picture(session, desk.member, row.pictures[1].id)
    with desk.database.read() as session:
        blocked = session.scalars(select(Verdict).where(Verdict.action == "block")).one()
        kinds = [event.kind for event in events.of_generation(session, generation.id)]
    assert (blocked.picture_index, blocked.category) == (1, "sexual")
    assert "finished" in kinds
    assert "step" not in kinds, "its previews went with it"


def test_a_wholly_refused_set_is_free_and_leaves_verdicts(
    desk: Desk, process: WorkerProcess
) -> None:
    generation = desk.queue("refuse 0 refuse 1", images=2)
    generate(process, generation.id)
    row = desk.read(generation.id)
    assert (row.state, row.error_code) == ("refused", "output_refused")
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert [picture.refused for picture in row.pictures] == [True, True]
    assert len(files(process)) == 4, "kept for the reviewer alone"
    with desk.database.read() as session:
        assert len(session.scalars(select(Verdict)).all()) == 2
        kinds = [event.kind for event in events.of_generation(session, generation.id)]
    assert "step" not in kinds


def test_without_its_filter_nothing_is_delivered(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue("unfiltered")
    generate(process, generation.id)
    row = desk.read(generation.id)
    assert (row.state, row.error_code) == ("failed", "filter_unavailable")
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert files(process) == []


def test_a_fault_of_ours_fails_the_job_and_is_raised(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue("fault")
    with pytest.raises(ZeroDivisionError):
        generate(process, generation.id)
    row = desk.read(generation.id)
    assert (row.state, row.error_code) == ("failed", "internal")
    assert "fake" not in str(row.error_message)
    assert desk.balance().available_micros == TOP_UP_MICROS
    generate(process, desk.queue().id)
    assert desk.balance().settled_micros == TOP_UP_MICROS - PRICE_MICROS


def test_a_disk_that_refuses_is_a_clear_failure(desk: Desk, process: WorkerProcess) -> None:
    process.storage.root.write_text("a file where the folder should be")
    generation = desk.queue()
    generate(process, generation.id)
    row = desk.read(generation.id)
    assert (row.state, row.error_code) == ("failed", "storage_failed")
    assert desk.balance().available_micros == TOP_UP_MICROS


def test_a_cancel_is_seen_between_steps(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue("wait for it")
    working = threading.Thread(target=generate, args=(process, generation.id))
    working.start()
    wait_until(lambda: desk.read(generation.id).steps_done == 2, "the second step")
    with desk.database.transaction() as session:
        lifecycle.request_cancel(session, desk.member, generation.id)
    working.join(timeout=20)
    row = desk.read(generation.id)
    assert (row.state, row.steps_done) == ("cancelled", 2)
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert files(process) == []


def test_who_lost_the_seat_while_waiting_gets_no_picture(
    desk: Desk, process: WorkerProcess
) -> None:
    generation = desk.queue()
    with desk.database.transaction() as session:
        roster.revoke_seat(session, desk.team.owner, desk.member.id)
    generate(process, generation.id)
    row = desk.read(generation.id)
    assert (row.state, row.error_code) == ("failed", "no_seat")
    assert desk.balance().held_micros == 0


def test_a_database_that_goes_away_costs_no_picture(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue("wait for it")
    working = threading.Thread(target=generate, args=(process, generation.id))
    working.start()
    wait_until(lambda: desk.read(generation.id).steps_done == 2, "the second step")
    with away(desk.database):
        (process.settings.state_folder / "go").touch()
        # The picture is made and stored while nothing can be written about it.
        wait_until(lambda: len(files(process)) == 2, "the files")
    working.join(timeout=30)
    row = desk.read(generation.id)
    assert (row.state, row.charged_micros) == ("finished", PRICE_MICROS)
    assert desk.balance().settled_micros == TOP_UP_MICROS - PRICE_MICROS


def test_a_database_that_goes_away_after_the_claim_costs_no_job(
    desk: Desk,
    process: WorkerProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    generation, take, outage = desk.queue(), process.take, ExitStack()

    def take_without_database(claimed: Generation) -> Attempt:
        outage.enter_context(away(desk.database))
        return take(claimed)

    monkeypatch.setattr(process, "take", take_without_database)
    working = threading.Thread(target=generate, args=(process, generation.id))
    working.start()
    wait_until(lambda: "trying again" in caplog.text, "the worker to ask in vain")
    outage.close()
    working.join(timeout=30)
    assert desk.read(generation.id).state == "finished"


def test_the_page_can_tell_who_works_and_what_they_can_run(
    desk: Desk, process: WorkerProcess, tmp_path: Path
) -> None:
    pocket, krea = models.find("pocket-turbo"), models.find("krea-2-turbo")
    process.tools()
    assert workers(desk) == [process.name]
    with desk.database.read() as session:
        (worker,) = presence.alive(session)
        assert set(worker.models) == {"pocket-turbo", "pocket-raw"}
        assert "weights" in (presence.problem(session, pocket, tmp_path) or "")
        assert presence.waiting_reason(session, pocket) is None
        assert "No worker" in (presence.waiting_reason(session, krea) or "")
    process.end()
    assert workers(desk) == []
