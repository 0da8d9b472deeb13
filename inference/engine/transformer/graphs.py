"""Steps recorded as CUDA graphs: one launch for the four hundred kernels of an evaluation.

At 512 pixels the card finishes a kernel about as fast as Python starts the next, so a picture would
wait for the host. The first step of a new shape runs as it is (and compiles kernels, once), the
second is recorded while the first still computes, so recording costs no time of its own. Replaces
`torch.compile(mode="reduce-overhead")`, which records each block by itself and copies between them.
"""

import logging
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch

from inference.engine.transformer.model import Prepared, Times, Transformer

# Past this many rows (1,024 squared pixels and a long prompt) a step is all arithmetic, and the
# memory that a recording reserves is worth more.
TOKENS_MAX = 4096 + 512
GRAPHS_MAX = 8  # a shape is a size and a number of text tokens; the longest unused goes first

# Pictures and their tokens, text tokens, and the rank of LoRAs, 0 without.
Key = tuple[int, int, int, int]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """A recorded step: write `inputs`, replay, read `velocity`."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[torch.Tensor, ...]
    velocity: torch.Tensor


class Stepper:
    """Evaluates steps of `transformer`, from a recording where there is one. One thread's own."""

    def __init__(
        self,
        transformer: Transformer,
        *,
        records: bool,
        alone: AbstractContextManager[bool] | None = None,
    ) -> None:
        """Without `records` (a CPU, blocks that are streamed) every step runs as it is.

        `alone` is held while a step is recorded: what compiles meanwhile in another thread asks for
        the state of random numbers, which a recording refuses.
        """
        self.transformer = transformer
        self._alone = alone or Lock()
        self.records = records
        self._seen: set[Key] = set()
        self._recordings: OrderedDict[Key, Recording] = OrderedDict()
        self._pool: Any = None  # of memory, which all recordings share

    def __call__(
        self, latents: torch.Tensor, prepared: Prepared, times: Times, index: int
    ) -> torch.Tensor:
        """The velocity (B, N, channels) of `latents` at step `index`; the caller's to keep."""
        key = (*latents.shape[:2], prepared.text_tokens, self.transformer.branch_rank)
        rows = key[0] * (key[1] + key[2])
        if not self.records or rows > TOKENS_MAX or key not in self._seen:
            self._seen.add(key)
            return self.transformer.step(latents, prepared, times, index)
        inputs = (
            latents,
            prepared.text,
            prepared.cos,
            prepared.sin,
            times.shared[index],
            times.final[index],
        )
        recording = self._recordings.get(key) or self._try_to_record(key, inputs)
        if recording is None:
            return self.transformer.step(latents, prepared, times, index)
        self._recordings.move_to_end(key)
        for held, given in zip(recording.inputs, inputs, strict=True):
            held.copy_(given)
        recording.graph.replay()
        return recording.velocity.clone()

    def forget(self, branch_rank: int | None = None) -> None:
        """Give up all recordings and their memory, or those with LoRAs of one rank."""
        for key in [key for key in self._seen if branch_rank in (None, key[3])]:
            self._seen.discard(key)
            self._recordings.pop(key, None)

    def _try_to_record(self, key: Key, inputs: tuple[torch.Tensor, ...]) -> Recording | None:
        """A recording, or None: the picture is drawn without, and from then on all are.

        Without memory for a recording, the memory of the others goes to the drawing.
        """
        stream = _current_stream()
        try:
            return self._record(key, inputs)
        except RuntimeError:  # out of memory is one
            _log.exception("A step could not be recorded; steps are launched one by one from now.")
        # A capture that breaks off can leave its own stream as the current one.
        if stream is not None:
            torch.cuda.set_stream(stream)
        self.records = False
        self.forget()
        return None

    def _record(self, key: Key, inputs: tuple[torch.Tensor, ...]) -> Recording:
        while len(self._recordings) >= GRAPHS_MAX:
            self._recordings.popitem(last=False)
        held = tuple(torch.empty_like(given).copy_(given) for given in inputs)
        latents, text, cos, sin, shared, final = held
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # Other threads encode and decode meanwhile and may allocate: theirs is not recorded.
        mode = "thread_local"
        with self._alone, torch.cuda.graph(graph, pool=self._pool, capture_error_mode=mode):
            velocity = self.transformer.evaluate(latents, Prepared(text, cos, sin), shared, final)
        recording = self._recordings[key] = Recording(graph, held, velocity)
        return recording


def _current_stream() -> torch.cuda.Stream | None:
    return torch.cuda.current_stream() if torch.cuda.is_available() else None
