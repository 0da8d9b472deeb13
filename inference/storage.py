"""Where pictures lie: files under one folder, written whole or not at all.

Keys are made here from picture ids; nothing that a person typed is ever part of a path. Only
`webapp.media` serves what lies here, after it has asked whose it is.
"""

import contextlib
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.(png|webp)")


def picture_key(picture_id: uuid.UUID) -> str:
    """Return the key of the original (PNG)."""
    return f"{picture_id.hex[:2]}/{picture_id.hex}.png"


def thumbnail_key(picture_id: uuid.UUID) -> str:
    """Return the key of the small one (WebP)."""
    return f"{picture_id.hex[:2]}/{picture_id.hex}.webp"


@dataclass(frozen=True)
class Storage:
    """A folder of pictures, shared by the worker that writes and the web app that reads."""

    root: Path

    def put(self, key: str, content: bytes) -> None:
        """Write `content` under `key`: after return it survives a crash. Raises `OSError`."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # the row that bills for it commits after this
            partial.replace(target)
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

    def path(self, key: str) -> Path:
        """Return the file of `key`. Raises `ValueError` for what this module did not make."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a storage key: {key!r}")
        return self.root / key
