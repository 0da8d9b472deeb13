"""Where a team's LoRAs lie, and the pictures that they were judged by: one folder, shared.

The web process lays a file down while it arrives, under a name that nobody looks for; whole and
judged by its header it gets the name of its SHA-256, in the transaction that writes its row. What a
crash left is told by its age and by no row naming it. Nothing that a person typed is part of a
path.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from licensing import adapters
from licensing.db import Database
from licensing.errors import AtelierError

FILE_BYTES_MAX = 2**30  # twice a LoRA of rank 64 on every layer of Krea 2, in 16 bits
FREE_BYTES_MIN = 2 * 2**30  # stay free: pictures and the database lie on the same disk
LEFT_OVER_AGE = timedelta(days=1)  # an upload takes minutes

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileRefused(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The file is empty, too large, or there is no room for it."""

    code: ClassVar[str] = "file_refused"
    status: ClassVar[int] = 422


@dataclass(frozen=True)
class AdapterFiles:
    """The folder; `folder` is given to the engine, which reads `<sha256>.safetensors` in it."""

    folder: Path

    def path(self, sha256: str) -> Path:
        """Where the file of this name lies, if it does."""
        assert _SHA256.fullmatch(sha256), "names come from rows"
        return self.folder / f"{sha256}.safetensors"

    def grid(self, adapter_id: uuid.UUID) -> Path:
        """Where the pictures lie that a LoRA was judged by (one WebP), for reviewers alone."""
        return self.folder / "grids" / f"{adapter_id.hex}.webp"

    def keep_grid(self, adapter_id: uuid.UUID, webp: bytes) -> None:
        """Write the pictures of a check, whole or not at all. Raises `OSError`."""
        path = self.grid(adapter_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            partial.write_bytes(webp)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def arriving(self) -> Iterator["Arriving"]:
        """Take in a file piece by piece; what was not laid down is gone at the end."""
        incoming = self.folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        partial = incoming / f"{uuid.uuid4().hex}.part"
        try:
            with partial.open("xb") as file:
                yield Arriving(partial, file.fileno(), hashlib.sha256())
        finally:
            partial.unlink(missing_ok=True)

    def lay_down(self, arrived: "Arriving") -> None:
        """Give a whole file its name; after return it survives a crash. Raises `OSError`."""
        os.fsync(arrived.descriptor)
        arrived.path.replace(self.path(arrived.sha256))

    def require_space(self, size: int) -> None:
        """Raise `FileRefused` where `size` bytes more would fill the disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free - size < FREE_BYTES_MIN:
            raise FileRefused(
                "There is too little space on the studio’s disk for this file. "  # noqa: RUF001
                "Tell whoever runs the studio."
            )

    def drop(self, database: Database, sha256: str) -> bool:
        """Delete a file that is on no team's shelf and under no lock; whether it went."""
        with database.transaction() as session:
            adapters.lock_file(session, sha256)  # nobody brings it at this moment
            if adapters.is_kept(session, sha256):
                return False
            self.path(sha256).unlink(missing_ok=True)
        return True


class Arriving:
    """A file on its way in."""

    def __init__(self, path: Path, descriptor: int, digest: "hashlib._Hash") -> None:
        """Begin with nothing."""
        self.path = path
        self.descriptor = descriptor
        self.bytes = 0
        self._digest = digest

    def take(self, piece: bytes) -> None:
        """Write the next piece. Raises `FileRefused` over the limit, `OSError` on a full disk."""
        self.bytes += len(piece)
        if self.bytes > FILE_BYTES_MAX:
            raise too_large()
        view = memoryview(piece)
        while view:
            view = view[os.write(self.descriptor, view) :]
        self._digest.update(piece)

    @property
    def sha256(self) -> str:
        """Of all that arrived, in hex digits."""
        return self._digest.hexdigest()


def too_large() -> FileRefused:
    """The refusal of a file over the limit."""
    return FileRefused(f"A LoRA may have {FILE_BYTES_MAX >> 20:,} MB; this file has more.")


def tidy(database: Database, files: AdapterFiles, moment: datetime) -> int:
    """Remove what a crash left: unfinished uploads, and files that are on no shelf."""
    count = 0
    for partial in (*files.folder.glob("incoming/*.part"), *files.folder.glob("grids/*.part")):
        if _is_old(partial, moment):
            partial.unlink(missing_ok=True)
            count += 1
    for path in files.folder.glob("*.safetensors"):
        if _SHA256.fullmatch(path.stem) and _is_old(path, moment):
            count += files.drop(database, path.stem)
    return count


def _is_old(path: Path, moment: datetime) -> bool:
    try:
        written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return False
    return written_at < moment - LEFT_OVER_AGE
