"""What was made of the prompts that come again.

People press the button several times for one prompt, and every picture of an undistilled model also
needs the empty prompt: a hit saves the whole run of the encoder. At the same size it saves as well
what the steps read of it. The longest unused goes first. Nothing is kept that a LoRA changes.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

# About 60 prompts of ordinary length of the full model (2.5 MB of states each, and as much of what
# the steps read), on the device.
BYTES_MAX = 320 * 2**20


class Sized(Protocol):
    """What knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """In bytes."""


Kept = TypeVar("Kept", bound=Sized)


class TextCache:
    """States and what is made of them, each under a key of its own; one thread's."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        """Begin empty; `bytes_max` bounds what is kept."""
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._bytes_max = bytes_max
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What is kept under `key`, or what `make` makes."""
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            kept: Kept = self._kept[key]
            return kept
        self.misses += 1
        made = make()
        self._kept[key] = made
        while len(self._kept) > 1 and self._bytes() > self._bytes_max:
            self._kept.popitem(last=False)
        return made

    def clear(self) -> None:
        """Forget everything: another model is loaded, or memory is short."""
        self._kept.clear()

    def _bytes(self) -> int:
        return sum(one.nbytes for one in self._kept.values())
