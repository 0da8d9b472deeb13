"""What lies in storage after `put` has returned would be there after a power cut."""

import os
import uuid
from pathlib import Path

import pytest

from inference.storage import Storage, picture_key


def test_the_content_is_on_the_disk_before_its_name_and_its_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, key = Storage(tmp_path), picture_key(uuid.uuid4())
    flushed: list[tuple[Path, bool]] = []  # what was flushed, and whether the picture had its name
    to_disk = os.fsync

    def fsync(opened: int) -> None:
        flushed.append((Path(f"/proc/self/fd/{opened}").readlink(), storage.path(key).exists()))
        to_disk(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    storage.put(key, b"a picture")
    (content, was_named), *names = flushed
    assert (content.suffix, was_named) == (".part", False)
    assert names == [(storage.path(key).parent, True), (tmp_path, True)]
    assert storage.read(key) == b"a picture"

    flushed.clear()
    beside = f"{key[:2]}/{key[:2]}{uuid.uuid4().hex[2:]}.png"
    storage.put(beside, b"another")
    assert [place for place, _ in flushed[1:]] == [storage.path(beside).parent]
