"""The text encoder recorded as CUDA graphs: one launch for its nine hundred kernels.

A prompt of 50 tokens needs the card for 8 ms and Python for 20 to 35 to start what runs there. A
recording is of one length, so a prompt is filled up at its end to the next multiple of 16 tokens:
each token reads only those before it, and what follows changes nothing. A length is recorded when
its first prompt comes, and that prompt's states are already the recording's, so the same prompt has
the same bytes whenever it comes.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from inference.engine.qwen import tapped_states

GRAIN = 16  # tokens between two recorded lengths
FILLER = 0  # a token like any other

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """The encoder at one length: write `ids`, replay. All that a replay reads is kept here."""

    graph: torch.cuda.CUDAGraph
    ids: torch.Tensor  # (1, length)
    positions: torch.Tensor  # (1, length)


@dataclass
class RecordedText:
    """Runs `encoder`, the language half of a Qwen3VLModel, which stays where it is. One thread's.

    All recordings share their memory and write to `states`: an answer is copied before the next.
    """

    encoder: Any
    taps: Sequence[int]
    tokens_max: int
    records: bool = True
    _recordings: dict[int, Recording] = field(default_factory=dict)
    _states: torch.Tensor | None = None
    _pool: Any = None

    def __call__(self, ids: torch.Tensor) -> torch.Tensor | None:
        """The states (1, L, taps, width) of one prompt's `ids` (1, L); None if not from here."""
        tokens = ids.shape[1]
        length = -(-tokens // GRAIN) * GRAIN
        if not self.records or length > self.tokens_max:
            return None
        if length not in self._recordings and not self._try_to_record(length):
            return None
        recording = self._recordings[length]
        recording.ids[:, :tokens].copy_(ids)
        recording.ids[:, tokens:].fill_(FILLER)
        recording.graph.replay()
        assert self._states is not None
        return self._states[:, :tokens].clone()

    def forget(self) -> None:
        """Give up all recordings and their memory."""
        self._recordings.clear()
        self._states = None

    def _try_to_record(self, length: int) -> bool:
        stream = torch.cuda.current_stream() if torch.cuda.is_available() else None
        try:
            self._record(length)
        except RuntimeError:  # out of memory is one
            _log.exception("The text encoder could not be recorded; it is slower from now on.")
            if stream is not None:
                torch.cuda.set_stream(stream)  # one that breaks off can leave its own behind
            self.records = False
            self.forget()
            return False
        return True

    def _record(self, length: int) -> None:
        device = self.encoder.embed_tokens.weight.device
        ids = torch.full((1, length), FILLER, device=device)
        mask = torch.ones(1, length, dtype=torch.bool)
        positions = torch.arange(length, device=device)[None]
        # Once as it is: libraries make ready what a recording could not.
        states = tapped_states(self.encoder, ids, mask, positions, self.taps)
        if self._states is None:
            self._states = states.new_empty(1, self.tokens_max, *states.shape[2:])
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # Steps are drawn meanwhile by another thread: theirs are not recorded.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            states = tapped_states(self.encoder, ids, mask, positions, self.taps)
            self._states[:, :length].copy_(states)
        self._recordings[length] = Recording(graph, ids, positions)
