"""A model that is switched off: no new work at once, an empty queue, no money held, no files."""

import json
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fake_tools import fake_tools
from jobs import TOP_UP_MICROS, Desk
from racing import race
from sqlalchemy import select

from inference import lifecycle, models, withdrawal
from inference.adapters import find, fits
from inference.generations import Generation
from inference.job import generate
from inference.process import WorkerProcess
from inference.settings import Settings
from inference.sweep import sweep
from licensing import licence, model_switches
from licensing.errors import AtelierError, Conflict
from licensing.model_switches import ModelSwitch

TURBO, RAW = "pocket-turbo", "pocket-raw"
REASON = "The licence was taken back."


def revoke(desk: Desk, model_id: str = TURBO) -> int:
    return withdrawal.revoke(desk.database, model_id, reason=REASON, given_by="Olga")


@pytest.fixture
def process(database_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    settings = Settings(
        database_url=database_url,
        broker_url="redis://unused",
        state_folder=tmp_path,
        weights_folder=tmp_path / "weights",
        worker_classes=("pocket",),
    )
    process = WorkerProcess(settings, fake_tools)
    process.begin()
    yield process
    process.end()


def test_waiting_and_running_jobs_end_with_the_reason_and_their_money_back(desk: Desk) -> None:
    waiting, running, other = desk.queue(), desk.queue(), desk.queue(model=RAW)
    with desk.database.transaction() as session:
        claimed = lifecycle.claim(session, running.id, "w1")
    assert claimed is not None
    assert revoke(desk) == 2
    for job in (waiting, running):
        row = desk.read(job.id)
        assert (row.state, row.error_code) == ("failed", "model_revoked")
        assert row.error_message is not None
        assert REASON in row.error_message
    assert desk.read(other.id).state == "queued", "the other model goes on"
    assert desk.balance().held_micros == other.price_micros
    with desk.database.transaction() as session:
        assert lifecycle.heartbeat(session, claimed) == "lost", "its worker stops within a step"
        assert not lifecycle.finish(
            session, claimed, [lifecycle.Made(id=uuid.uuid4(), index=0, seed=1)]
        )
    assert desk.balance().settled_micros == TOP_UP_MICROS


def test_a_job_that_slipped_in_is_refused_by_the_worker(desk: Desk, process: WorkerProcess) -> None:
    revoke(desk)
    late = desk.queue()
    generate(process, late.id)
    row = desk.read(late.id)
    assert (row.state, row.error_code) == ("failed", "model_revoked")
    assert desk.balance().held_micros == 0


def test_the_next_sweep_finds_what_slipped_in(desk: Desk) -> None:
    revoke(desk)
    late = desk.queue()
    rung: list[uuid.UUID] = []
    assert sweep(desk.database, lambda id_, _: rung.append(id_)).failed == 1
    assert desk.read(late.id).error_code == "model_revoked"
    assert (rung, desk.balance().held_micros) == ([], 0)


def test_submitting_while_the_switch_falls_leaves_nothing_running(
    desk: Desk, process: WorkerProcess
) -> None:
    def submit(_: int) -> str:
        try:
            with desk.database.read() as session:
                licence.require_valid(session, TURBO)
            desk.queue()
        except AtelierError as error:
            return error.code
        return "in"

    race([*(partial(submit, n) for n in range(6)), lambda: str(revoke(desk))])
    with desk.database.read() as session:
        jobs = list(session.scalars(select(Generation.id)))
    for job in jobs:
        generate(process, job)
    assert {desk.read(job).state for job in jobs} <= {"failed"}
    assert desk.balance().held_micros == 0
    assert desk.balance().settled_micros == TOP_UP_MICROS


def test_a_model_that_is_on_again_works(desk: Desk, process: WorkerProcess) -> None:
    revoke(desk)
    with pytest.raises(Conflict, match="switched off already"):
        revoke(desk)
    withdrawal.restore(desk.database, TURBO, reason="Cleared", given_by="Olga")
    job = desk.queue()
    generate(process, job.id)
    assert desk.read(job.id).state == "finished"
    with pytest.raises(Conflict, match="not switched off"):
        withdrawal.restore(desk.database, TURBO, reason="Cleared", given_by="Olga")


def test_an_unknown_model_has_no_switch(desk: Desk) -> None:
    with pytest.raises(models.ModelUnavailable):
        revoke(desk, "../weights")


def tensors(path: Path, shapes: dict[str, list[int]]) -> None:
    """Write a safetensors header, which is all that tells what a file is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps(
        {
            name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
            for name, shape in shapes.items()
        }
    ).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def lora(width: int) -> dict[str, list[int]]:
    return {
        "transformer.blocks.0.attn.to_q.lora_A.weight": [4, width],
        "transformer.blocks.0.attn.to_q.lora_B.weight": [width, 4],
    }


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Two models of the same shape, a third thing of another, and LoRAs for each."""
    folder = tmp_path / "weights"
    for model in (TURBO, RAW):
        tensors(
            folder / model / "transformer" / "part-1.safetensors",
            {"blocks.0.attn.to_q.weight": [64, 64]},
        )
        (folder / model / "model_index.json").write_text("{}")
    tensors(folder / "style" / "pytorch_lora_weights.safetensors", lora(64))
    tensors(folder / "foreign" / "pytorch_lora_weights.safetensors", lora(128))
    (folder / "notes.safetensors").write_bytes(b"\xff" * 64)
    return folder


def test_a_lora_is_known_by_the_layers_that_it_changes(weights: Path) -> None:
    assert [path.parent.name for path in find(weights)] == ["foreign", "style"]
    style = weights / "style" / "pytorch_lora_weights.safetensors"
    assert fits(style, weights / TURBO)
    assert not fits(weights / "foreign" / style.name, weights / TURBO)


def test_the_lora_that_ships_is_known_as_the_pocket_models_own() -> None:
    shipped = Path(__file__).parents[2] / "weights"
    [line] = find(shipped)
    assert all(fits(line, shipped / model) for model in (TURBO, RAW))


def test_files_go_when_nothing_else_needs_them(desk: Desk, weights: Path) -> None:
    delete = partial(withdrawal.delete_weights, desk.database, given_by="Olga")
    with pytest.raises(Conflict, match="Switch Pocket Turbo off before"):
        delete(TURBO, weights)
    revoke(desk)
    gone = delete(TURBO, weights)
    assert [path.name for path in gone.deleted] == [TURBO]
    assert "also fits Pocket Raw" in gone.kept[0]
    assert delete(TURBO, weights).deleted == (), "again is harmless"
    revoke(desk, RAW)
    assert [path.name for path in delete(RAW, weights).deleted] == [RAW, "style"]
    assert sorted(path.name for path in weights.iterdir()) == ["foreign", "notes.safetensors"]
    with desk.database.read() as session:
        deleted = select(ModelSwitch.reason).where(ModelSwitch.action == "deleted")
        assert list(session.scalars(deleted.order_by(ModelSwitch.id))) == [
            "Deleted: pocket-turbo.",
            "Deleted: pocket-raw, style.",
        ]
        assert set(model_switches.revoked(session)) == {TURBO, RAW}


def test_a_link_is_taken_away_and_what_it_leads_to_is_named(
    desk: Desk, weights: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (weights / TURBO).rename(elsewhere)
    (weights / TURBO).symlink_to(elsewhere)
    revoke(desk)
    gone = withdrawal.delete_weights(desk.database, TURBO, weights, given_by="Olga")
    assert not (weights / TURBO).exists()
    assert (elsewhere / "model_index.json").is_file()
    assert any(str(elsewhere) in sentence for sentence in gone.kept)
