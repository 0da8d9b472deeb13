"""A LoRA is judged by what is drawn with it before anybody may use it; a dead worker is bounded."""

import json
import uuid
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from fake_tools import FakeEngine
from jobs import Desk
from PIL import Image
from sqlalchemy import select

from inference import adapter_files, probe, withdrawal
from inference.job import generate
from inference.process import WorkerProcess
from inference.safety import pdq
from licensing import adapters, appeals, block_list, cases, evidence, policy_words
from licensing.adapters import Adapter, Brought
from licensing.cases import ReviewCase
from licensing.chain import seal, sources
from licensing.db import now

SHA = "ab" * 32
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _weights(tmp_path: Path) -> None:
    for model in ("pocket-turbo", "pocket-raw"):
        folder = tmp_path / "weights" / model
        folder.mkdir(parents=True)
        (folder / "model_index.json").write_text("{}")


def bring(desk: Desk, process: WorkerProcess, triggers: str = "", sha256: str = SHA) -> uuid.UUID:
    """Put a file on the shelf, as the upload does when it is whole."""
    process.adapter_files.folder.mkdir(parents=True, exist_ok=True)
    process.adapter_files.path(sha256).write_bytes(b"a file")
    brought = Brought(sha256, 6, "pocket", "peft", 12, 16)
    with desk.database.transaction() as session:
        adapter, _ = adapters.bring(session, desk.member, brought, name="Ink", triggers=triggers)
    return adapter.id


def check(process: WorkerProcess, adapter_id: uuid.UUID) -> None:
    """Take the check as the worker's task does."""
    taken = probe.take(process, adapter_id)
    if taken is not None:
        taken.is_over.wait()


def read(desk: Desk, adapter_id: uuid.UUID) -> Adapter:
    with desk.database.read() as session:
        return adapters.access(session, desk.member, adapter_id)


def cases_of(desk: Desk, adapter_id: uuid.UUID) -> list[ReviewCase]:
    with desk.database.read() as session:
        query = select(ReviewCase).where(ReviewCase.adapter_id == adapter_id)
        return list(session.scalars(query))


def test_a_clean_grid_makes_a_lora_ready_and_costs_nothing(
    desk: Desk, process: WorkerProcess
) -> None:
    before = desk.balance()
    adapter_id = bring(desk, process)
    job = desk.queue(adapters=[{"lora": SHA, "strength": 0.5}])
    generate(process, job.id)
    failed = desk.read(job.id)
    assert (failed.state, failed.error_code) == ("failed", "adapter_not_ready")
    assert "is still being checked" in (failed.error_message or "")
    check(process, adapter_id)
    found = read(desk, adapter_id)
    assert (found.state, found.grid, found.attempts) == ("ready", "grid-1", 1)
    with Image.open(process.adapter_files.grid(adapter_id)) as grid:
        assert grid.size == (512, 512)
    assert cases_of(desk, adapter_id) == []
    assert desk.balance() == before
    job = desk.queue(adapters=[{"lora": SHA, "strength": 0.5}])
    generate(process, job.id)
    finished = desk.read(job.id)
    assert finished.state == "finished"
    with Image.open(process.storage.path(finished.pictures[0].key or "")) as picture:
        record = json.loads(picture.info["atelier"])
    assert record["loras"] == [{"sha256": SHA, "strength": 0.5}]


def test_a_refused_grid_can_be_appealed_and_is_not_undone_by_bringing_the_file_again(
    desk: Desk, process: WorkerProcess
) -> None:
    adapter_id = bring(desk, process, "refuse 0")
    check(process, adapter_id)
    found = read(desk, adapter_id)
    assert (found.state, found.category) == ("refused", "sexual")
    (case,) = cases_of(desk, adapter_id)
    assert case.kind == "adapter"
    with desk.database.transaction() as session:
        appeals.file(session, desk.member, case.id, words="It is only ink.")
        adapters.remove(session, desk.member, adapter_id)
    assert bring(desk, process, "refuse 0") == adapter_id
    assert read(desk, adapter_id).state == "refused"


def test_a_grid_with_a_known_picture_is_locked_whatever_else_is_in_it(
    desk: Desk, process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Image.effect_mandelbrot((512, 512), (-2.1, -1.3, 0.7, 1.3), 60).convert("RGB")
    with desk.database.transaction() as session:
        feed = [pdq.fingerprint(known).orientations[0].tobytes().hex()]
        category = policy_words.of_list("csam")
        block_list.import_feed(session, feed, source="industry", category=category)
    pictures = iter([Image.new("RGB", (256, 256), "red"), known.resize((240, 200))])

    def decode(_self: FakeEngine, _latents: object) -> list[Image.Image]:
        return [next(pictures, Image.new("RGB", (256, 256), "red"))]

    monkeypatch.setattr(FakeEngine, "decode", decode)
    adapter_id = bring(desk, process)
    check(process, adapter_id)
    found = read(desk, adapter_id)
    assert (found.state, found.category) == ("refused", "minors_sexual")
    (case,) = cases_of(desk, adapter_id)
    with desk.database.read() as session:
        assert cases.is_narrowed(session, case)
        lock = evidence.lock_of_adapter(session, adapter_id)
        assert lock is not None
        assert lock.case_id == case.id


def test_a_doubt_waits_for_a_reviewer(desk: Desk, process: WorkerProcess) -> None:
    adapter_id = bring(desk, process, "doubt")
    check(process, adapter_id)
    assert read(desk, adapter_id).state == "review"
    (case,) = cases_of(desk, adapter_id)
    with desk.database.transaction() as session:
        assert adapters.decide(
            session,
            adapter_id,
            "allow",
            reviewer_id=desk.team.owner.id,
            case_id=case.id,
            reason="Ink.",
        )
    assert read(desk, adapter_id).state == "ready"


def test_a_filter_that_is_away_makes_the_check_wait(desk: Desk, process: WorkerProcess) -> None:
    adapter_id = bring(desk, process, "unfiltered")
    for _ in range(adapters.ATTEMPTS_MAX + 1):
        check(process, adapter_id)
    found = read(desk, adapter_id)
    assert (found.state, found.attempts) == ("checking", 0)
    assert found.problem == "The fake filter is not there."


def test_a_file_that_is_not_there_is_waited_for(desk: Desk, process: WorkerProcess) -> None:
    adapter_id = bring(desk, process)
    process.adapter_files.path(SHA).unlink()
    check(process, adapter_id)
    assert read(desk, adapter_id).problem == probe.NO_FILE


def test_a_check_whose_worker_died_is_begun_again_and_given_up_in_the_end(
    desk: Desk, process: WorkerProcess
) -> None:
    adapter_id = bring(desk, process)
    assert probe.take_waiting(desk.database) == []  # its first message is on its way
    with desk.database.transaction() as session:
        waiting = partial(adapters.take_waiting, session, ["alive"], moment=now() + HOUR)
        assert waiting(families={"krea-2"}) == []
        assert waiting(families={"pocket"}) == [(adapter_id, "pocket")]
    for attempt in range(1, adapters.ATTEMPTS_MAX + 1):
        with desk.database.transaction() as session:
            assert adapters.claim(session, adapter_id, f"killed-{attempt}") is not None
            assert adapters.claim(session, adapter_id, "another") is None
        rung = probe.take_waiting(desk.database)
        assert rung == ([(adapter_id, "pocket")] if attempt < adapters.ATTEMPTS_MAX else [])
    found = read(desk, adapter_id)
    assert (found.state, found.verdict_id) == ("refused", None)
    assert "begun three times" in (found.reason or "")


def test_a_removed_lora_leaves_the_disk_and_nobody_can_use_it(
    desk: Desk, process: WorkerProcess
) -> None:
    adapter_id = bring(desk, process)
    check(process, adapter_id)
    with desk.database.transaction() as session:
        adapters.remove(session, desk.member, adapter_id)
    assert process.adapter_files.drop(desk.database, SHA)
    assert not process.adapter_files.path(SHA).exists()
    job = desk.queue(adapters=[{"lora": SHA}])
    generate(process, job.id)
    assert "was removed" in (desk.read(job.id).error_message or "")


def test_what_a_crash_left_is_tidied_and_what_is_on_a_shelf_stays(
    desk: Desk, process: WorkerProcess
) -> None:
    bring(desk, process)
    files = process.adapter_files
    files.path("cd" * 32).write_bytes(b"named, and its row never committed")
    with files.arriving() as arriving:
        arriving.take(b"half a file")
        later = now() + 2 * adapter_files.LEFT_OVER_AGE
        assert adapter_files.tidy(desk.database, files, now()) == 0
        assert adapter_files.tidy(desk.database, files, later) == len(["half", "uncommitted"])
        assert not arriving.path.exists()
    assert files.path(SHA).exists()
    assert later - now() > timedelta(days=1)


def test_the_last_model_of_a_family_takes_its_loras_along(
    desk: Desk, process: WorkerProcess
) -> None:
    adapter_id = bring(desk, process)
    files, gone = process.adapter_files, []
    for model in ("pocket-raw", "pocket-turbo"):
        withdrawal.revoke(desk.database, model, reason="told to", given_by="Olga")
        gone.append(withdrawal.delete_loras(desk.database, model, files))
    assert gone == [0, 1]
    assert not files.path(SHA).exists()
    assert read(desk, adapter_id).state == "removed"


def test_every_judgement_is_in_the_log(desk: Desk, process: WorkerProcess) -> None:
    adapter_id = bring(desk, process, "refuse 0")
    check(process, adapter_id)
    seal(desk.database)
    with desk.database.read() as session:
        kinds = session.connection().exec_driver_sql(
            "SELECT kind FROM chain_link WHERE kind IN ('adapter_change', 'verdict')"
        )
        found = sorted(row[0] for row in kinds)
    assert found == ["adapter_change", "adapter_change", "verdict"]
    assert sources.newest("adapter_change").words == ("detail",)
