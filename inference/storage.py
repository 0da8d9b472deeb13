"""Where pictures lie: files under one folder, written whole or not at all.

Keys are made here from picture ids; nothing that a person typed is ever part of a path. Only
`webapp.media` serves what lies here, after it has asked whose it is.
"""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FOLDERS = 256  # one for each first byte of a picture's id

_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.(png|webp)")
# What `put` writes under, with the name that it has until it is whole.
_FILE = re.compile(r"([0-9a-f]{32})\.(png|webp|[0-9a-f]{32}\.part)")


def picture_key(picture_id: uuid.UUID) -> str:
    """Return the key of the original (PNG)."""
    return f"{picture_id.hex[:2]}/{picture_id.hex}.png"


def thumbnail_key(picture_id: uuid.UUID) -> str:
    """Return the key of the small one (WebP)."""
    return f"{picture_id.hex[:2]}/{picture_id.hex}.webp"


@dataclass(frozen=True)
class StoredFile:
    """A file as it lies in the folder: whose picture it is, and since when."""

    path: Path
    picture_id: uuid.UUID
    written_at: datetime


@dataclass(frozen=True)
class Storage:
    """A folder of pictures, shared by the worker that writes and the web app that reads."""

    root: Path

    def put(self, key: str, content: bytes) -> None:
        """Write `content` under `key`: after return it survives a crash. Raises `OSError`."""
        target = self.path(key)
        folder = target.parent
        is_first = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # the row that bills for it commits after this
            partial.replace(target)
            _flush_names(folder)
            if is_first:
                _flush_names(self.root)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise

    def read(self, key: str) -> bytes:
        """Return what lies under `key`. Raises `FileNotFoundError`."""
        return self.path(key).read_bytes()

    def delete(self, key: str) -> None:
        """Remove what lies under `key`, if anything does."""
        self.path(key).unlink(missing_ok=True)

    def files(self, folder: int) -> Iterator[StoredFile]:
        """Yield what `put` left in one of the `FOLDERS`, whole or not; other files are not ours."""
        try:
            entries = list(os.scandir(self.root / f"{folder:02x}"))
        except FileNotFoundError:
            return
        for entry in entries:
            named = _FILE.fullmatch(entry.name)
            if named is None:
                continue
            with contextlib.suppress(FileNotFoundError):  # it went, or got its name, just now
                written_at = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
                yield StoredFile(Path(entry.path), uuid.UUID(named[1]), written_at)

    def path(self, key: str) -> Path:
        """Return the file of `key`. Raises `ValueError` for what this module did not make."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a storage key: {key!r}")
        return self.root / key


def _flush_names(folder: Path) -> None:
    """Have the names in `folder` survive a power cut, as `fsync` does for a file's content."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
