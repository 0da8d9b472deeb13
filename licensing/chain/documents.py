"""Files of the log: JSON, one object a line, written whole and readable by their owner alone."""

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from licensing.errors import AtelierError


class Unusable(AtelierError):  # noqa: N818 - one sentence for whoever gave the file
    """A file cannot be written, read, or is none of ours."""

    code = "unusable_file"
    status = 422


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write all or nothing; a file that is there is replaced. Raises `Unusable`."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise Unusable(f"{path} cannot be written: {error.strerror}.") from error


def lines_of(path: Path, offset: int = 0) -> Iterator[dict[str, Any]]:
    """Read line by line, from a byte that `offsets` named. Raises `Unusable`."""
    return (line for _, line in offsets(path, offset))


def offsets(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line with the byte that it begins at. Raises `Unusable`."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for raw in file:
                read = json.loads(raw)
                if not isinstance(read, dict):
                    raise Unusable(f"{path} is not a file of JSON objects.")
                yield offset, read
                offset += len(raw)
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{path} is not a file of JSON lines.") from error
