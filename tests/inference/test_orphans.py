"""What a killed worker left on the disk goes; what a row names, or may yet name, stays."""

import os
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from jobs import Desk
from sqlalchemy import update

from inference import lifecycle
from inference.generations import Picture
from inference.lifecycle import Made
from inference.orphans import ORPHAN_AGE, TIDY_SECONDS, remove_orphans, tidy
from inference.storage import FOLDERS, Storage, picture_key, thumbnail_key
from licensing.db import now

FOLDER = 0xA7
OLD = ORPHAN_AGE + timedelta(hours=1)


def picture_id() -> uuid.UUID:
    return uuid.UUID(hex=f"{FOLDER:02x}{uuid.uuid4().hex[2:]}")


def store(storage: Storage, key: str, age: timedelta) -> Path:
    storage.put(key, b"a picture")
    written = (now() - age).timestamp()
    os.utime(storage.path(key), (written, written))
    return storage.path(key)


@pytest.fixture
def storage(desk: Desk, tmp_path: Path) -> tuple[Storage, Path]:
    """A folder with one delivered picture, as old as this database's pictures get."""
    storage, id_ = Storage(tmp_path), picture_id()
    key, age = picture_key(id_), OLD + timedelta(days=9)
    delivered = store(storage, key, age)
    made = Made(id_, index=0, seed=1, key=key, thumbnail_key=thumbnail_key(id_), sha256="0")
    generation = desk.queue()
    with desk.database.transaction() as session:
        claimed = lifecycle.claim(session, generation.id, "w1")
        assert claimed is not None
        assert lifecycle.finish(session, claimed, [made])
        session.execute(update(Picture).values(created_at=now() - age))
    return storage, delivered


def test_a_file_that_no_row_names_goes_after_a_day(
    desk: Desk, storage: tuple[Storage, Path]
) -> None:
    folder, delivered = storage
    orphan = store(folder, picture_key(picture_id()), OLD)
    partial = orphan.with_suffix(f".{uuid.uuid4().hex}.part")
    orphan.rename(partial)
    whole = store(folder, thumbnail_key(picture_id()), OLD)
    young = store(folder, picture_key(picture_id()), ORPHAN_AGE / 2)
    elsewhere = store(folder, picture_key(uuid.UUID(int=0)), OLD)
    notes = delivered.with_name("notes.txt")
    notes.write_text("not ours")
    os.utime(notes, (0, 0))
    assert remove_orphans(desk.database, folder, FOLDER, now()) == 2
    assert not partial.exists()
    assert not whole.exists()
    assert all(path.exists() for path in (delivered, young, elsewhere, notes))


def test_a_database_does_not_judge_files_from_before_its_time(
    desk: Desk, storage: tuple[Storage, Path]
) -> None:
    folder, _ = storage
    another_ones = store(folder, picture_key(picture_id()), OLD + timedelta(days=20))
    assert remove_orphans(desk.database, folder, FOLDER, now()) == 0
    assert another_ones.exists()


def test_every_folder_has_its_turn(desk: Desk, storage: tuple[Storage, Path]) -> None:
    folder, _ = storage
    orphan = store(folder, picture_key(picture_id()), OLD)
    turns = [now() + turn * timedelta(seconds=TIDY_SECONDS) for turn in range(FOLDERS)]
    assert sum(tidy(desk.database, folder, at) for at in turns) == 1
    assert not orphan.exists()
