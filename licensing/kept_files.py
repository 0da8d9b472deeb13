"""Small files that are made once and then kept: keys, certificates. The first writer wins."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def kept(path: Path, fresh: bytes) -> bytes:
    """The file's bytes; `fresh` if it was not there, written whole, readable by its owner alone.

    Two processes that start together end with the same bytes. Raises `OSError`.
    """
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, it replaces nobody's key
        draft.unlink()
    return path.read_bytes()
