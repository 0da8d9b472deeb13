"""Known pictures: every picture made is held against the block list, in all eight orientations.

A worker keeps the list in memory as an index and asks before each job whether it has changed. A
picture without enough in it to be told from others is not matched. It fails closed: without the
list no picture is shown.
"""

import importlib
import uuid
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from PIL.Image import Image
from sqlalchemy.orm import Session

from inference.safety import FilterUnavailable, ImageVerdict
from licensing import block_list
from licensing.block_list import Entry, Revision

BITS = 256


@dataclass(frozen=True)
class Held:
    """The list as it was at one revision; row numbers of the index are places in `entries`."""

    revision: Revision
    entries: list[Entry]
    index: Any


class KnownPictures:
    """A copy of the block list, brought up to date by `refresh`."""

    def __init__(self) -> None:
        self._module: ModuleType | None = None
        self._held: Held | None = None  # replaced as a whole: another thread may be asking it

    def refresh(self, session: Session) -> None:
        """Read the list anew if it has changed. Raises `FilterUnavailable`."""
        newest = block_list.revision(session)
        if self._held is None or newest != self._held.revision:
            self.hold(newest, list(block_list.entries(session)))

    def hold(self, revision: Revision, entries: list[Entry]) -> None:
        """Take `entries` for the list. Raises `FilterUnavailable`."""
        packed = np.frombuffer(b"".join(entry.pdq for entry in entries), np.uint8)
        index = self._pdq().HashIndex(packed.reshape(-1, block_list.HASH_BYTES))
        self._held = Held(revision, entries, index)

    def check(self, image: Image, organisation_id: uuid.UUID) -> ImageVerdict | None:
        """Say what a picture is a copy of; None if of nothing on the list.

        Raises `FilterUnavailable` before the first `refresh`.
        """
        held = self._held
        if held is None:
            raise FilterUnavailable("The block list was not read, so no picture can be shown.")
        if not held.entries:
            return None
        found = self._pdq().fingerprint(image)
        if not found.is_usable:
            return None
        for row, distance in held.index.near(found.orientations):
            entry = held.entries[row]
            if entry.organisation_id in {None, organisation_id}:
                source = f"pdq:{entry.source}"
                return ImageVerdict("block", entry.category, 1 - distance / BITS, source)
        return None

    def _pdq(self) -> ModuleType:
        """The hashing, imported when it is needed: a missing package is a sentence, not a crash."""
        if self._module is None:
            try:
                self._module = importlib.import_module("inference.safety.pdq")
            except ImportError as error:
                raise FilterUnavailable(
                    "The package pdqhash is not installed, so pictures cannot be held against the "
                    "block list and none can be made. Reinstall it and restart the worker."
                ) from error
        return self._module
