"""The text encoder's answers, kept for the prompts that come again.

People press the button several times for one prompt, and every picture of an undistilled model
also needs the empty prompt: a hit saves the whole run of the encoder. Keyed by model and prompt,
the longest unused goes first. What is kept is the encoder's output, before anything that a LoRA
changes.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch

# About 60 prompts of ordinary length of the full model (2.5 MB each), on the device.
BYTES_MAX = 160 * 2**20


class TextCache:
    """Text states by model and prompt; one thread's own."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        """Begin empty; `bytes_max` bounds what is kept."""
        self._kept: OrderedDict[tuple[str, str], torch.Tensor] = OrderedDict()
        self._bytes_max = bytes_max
        self.hits = 0
        self.misses = 0

    def get(self, model_id: str, prompt: str, encode: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The states of `prompt` for the model, from `encode` if they are not kept."""
        key = (model_id, prompt)
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        self.misses += 1
        states = encode()
        self._kept[key] = states
        while len(self._kept) > 1 and self._bytes() > self._bytes_max:
            self._kept.popitem(last=False)
        return states

    def clear(self) -> None:
        """Forget everything: another model is loaded, or memory is short."""
        self._kept.clear()

    def _bytes(self) -> int:
        return sum(states.nbytes for states in self._kept.values())
