"""A member's pictures as one ZIP file, written while it is sent: no temporary file, little memory.

Pictures are stored as they are, since PNG does not shrink. Beside them stands `pictures.jsonl`, a
line a picture: file, prompt, model, size, seed, time; also for a file that is missing from the
storage. Called by `webapp.departures`.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from inference.generations import Generation, Picture
from inference.request import picture_seed
from inference.storage import Storage
from webapp.media import file_name

CHUNK_BYTES = 1 << 18  # read and sent at a time
LIST_NAME = "pictures.jsonl"

Parts = Callable[[], Iterable[list[Generation]]]


def archive(storage: Storage, parts: Parts) -> Iterator[bytes]:
    """Yield the ZIP file of all delivered pictures in `parts`, which is read twice."""
    outlet = _Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as made:
        for generation, picture in _delivered(parts):
            path = _path(storage, picture)
            if path is not None:
                yield from _copy(made, outlet, _name(generation, picture), path)
        with made.open(_info(LIST_NAME), "w") as listing:
            for generation, picture in _delivered(parts):
                is_there = _path(storage, picture) is not None
                line = json.dumps(_describe(generation, picture, is_there=is_there))
                listing.write(f"{line}\n".encode())
                yield from outlet.taken()
    yield from outlet.taken()


def _copy(made: zipfile.ZipFile, outlet: "_Outlet", name: str, path: Path) -> Iterator[bytes]:
    with path.open("rb") as source, made.open(_info(name), "w") as target:
        while chunk := source.read(CHUNK_BYTES):
            target.write(chunk)
            yield from outlet.taken()


def _delivered(parts: Parts) -> Iterator[tuple[Generation, Picture]]:
    for part in parts():
        for generation in part:
            for picture in generation.pictures:
                if not picture.refused:
                    yield generation, picture


def _path(storage: Storage, picture: Picture) -> Path | None:
    path = storage.path(picture.key) if picture.key else None
    return path if path is not None and path.is_file() else None


def _name(generation: Generation, picture: Picture) -> str:
    words = file_name(generation.asked.prompt, picture.seed, "")
    return f"{generation.created_at:%Y-%m-%d}/{words}-{picture.id.hex[:8]}.png"


def _describe(generation: Generation, picture: Picture, *, is_there: bool) -> dict[str, object]:
    asked = generation.asked
    return {
        "file": _name(generation, picture) if is_there else None,
        "picture": str(picture.id),
        "generation": str(generation.id),
        "made_at": picture.created_at.isoformat(),
        "prompt": asked.prompt,
        "model": asked.model,
        "width": picture.width,
        "height": picture.height,
        "seed": picture_seed(asked, picture.index),
        "adapters": [{"lora": use.sha256, "strength": use.strength} for use in asked.adapters],
        "project": generation.project,
        "sha256": picture.sha256,
    }


def _info(name: str) -> zipfile.ZipInfo:
    """Describe an entry without a time of this machine: the same pictures make the same file."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


class _Outlet(io.RawIOBase):
    """Where the archive is written to: keeps the bytes until they are taken away to be sent."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        kept = bytes(content)  # type: ignore[call-overload]
        self._kept.append(kept)
        return len(kept)

    def taken(self) -> Iterator[bytes]:
        kept, self._kept = self._kept, []
        if kept:
            yield b"".join(kept)
