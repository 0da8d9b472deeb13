"""Blocks that do not fit on the card: they wait in main memory and come when they are needed.

While one block computes, the next is copied into the other of two slots on a stream of its own;
a block of 435 million weights in 8 bits takes 17 ms over PCIe 4, less than it computes on the
cards that need this. Same arithmetic, same bytes. Replaces diffusers' group offloading, whose
hooks move whole modules and know nothing of the fused blocks.
"""

from contextlib import nullcontext

import torch
from torch import nn

from inference.engine.transformer.block import Block
from inference.engine.transformer.model import Prepared, Transformer

SLOTS = 2


class StreamedTransformer(Transformer):
    """A Transformer of which some blocks lie in main memory; one evaluation at a time."""

    def __init__(self, whole: Transformer, slots: list[Block], resident: int) -> None:
        """Take over `whole`, of which the blocks from `resident` on are put away.

        `slots` are blocks on its device, to be written over.
        """
        super().__init__(whole.rest, whole.blocks)
        self.slots = nn.ModuleList(slots)
        self._held: list[int | None] = [None] * len(slots)
        self._away = range(resident, len(self.blocks))
        cuda = self.device.type == "cuda"
        self._copies = torch.cuda.Stream(self.device) if cuda else None  # type: ignore[no-untyped-call]
        self._copied = [torch.cuda.Event() for _ in range(SLOTS)] if cuda else None  # type: ignore[no-untyped-call]
        self._used = [torch.cuda.Event() for _ in range(SLOTS)] if cuda else None  # type: ignore[no-untyped-call]

    def run_blocks(self, x: torch.Tensor, shared: torch.Tensor, prepared: Prepared) -> torch.Tensor:
        """`x` through all blocks; the one after each is on its way meanwhile."""
        rest = shared, prepared.table, x.shape[1]
        for index, block in enumerate(self.blocks):
            if index not in self._away:
                x = block(x, *rest, self.branches_of(index))
                continue
            slot = self._held.index(index) if index in self._held else self._fetch(index, 0)
            following = self._away[(index + 1 - self._away.start) % len(self._away)]
            if following not in self._held:
                self._fetch(following, 1 - slot)
            if self._copied is not None:
                torch.cuda.current_stream(self.device).wait_event(self._copied[slot])
            x = self.slots[slot](x, *rest, self.branches_of(index))
            if self._used is not None:
                self._used[slot].record()
        return x

    def _fetch(self, index: int, slot: int) -> int:
        self._held[slot] = index
        with torch.cuda.stream(self._copies) if self._copies else nullcontext():
            if self._used is not None:
                self._used[slot].wait(self._copies)
            kept = zip(self.slots[slot].parameters(), self.blocks[index].parameters(), strict=True)
            for there, here in kept:
                there.copy_(here, non_blocking=True)
            if self._copied is not None:
                self._copied[slot].record(self._copies)
        return slot


def put_away(block: Block) -> Block:
    """`block` in main memory, pinned where there is a card, so that copies run beside kernels."""
    pinned = torch.cuda.is_available()
    for parameter in block.parameters():
        home = torch.empty_like(parameter, device="cpu", pin_memory=pinned)
        parameter.data = home.copy_(parameter)
    return block
