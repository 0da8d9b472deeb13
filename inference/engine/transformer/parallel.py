"""One picture over several processes: each holds a share of the rows (Ulysses' context parallel).

Everything but attention works on rows, so each process keeps 1/P of them. For attention the rows
are exchanged for heads (each process then has all rows of 1/P of the heads) and back: two
exchanges a block. Shares may differ by a row, so no padding is attended to. diffusers'
`enable_parallelism` has no plan for Krea 2 and works on its attention processors, which the fused
block has none of.

All of torch's default process group takes part. What travels is bytes, whatever the numbers are.
"""

from collections.abc import Mapping
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import distributed

from inference.engine.transformer.attention import Attend
from inference.engine.transformer.block import Block, Shape
from inference.engine.transformer.model import Prepared, Transformer
from inference.engine.transformer.pointwise import to_eight


def attend_together(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    tokens: int,
    *,
    attend: Attend,
    eight: bool,
) -> torch.Tensor:
    """As `attend`, for this process's rows (1, s, heads, D) of `tokens` in all of them.

    `eight` says that `attend` reads 8-bit queries and keys; they arrive here in 16 bits. Rows lie
    in the order of the processes, so what arrives is the whole sequence, and what goes back can be
    sent as it is.
    """
    processes = distributed.get_world_size()
    sizes = shares(tokens, processes)
    _, own, _, head_dim = query.shape
    given = [part[0].view(own, processes, -1, head_dim) for part in (query, key, value)]
    counts = [part.shape[2] for part in given]
    sent = value.new_empty(processes, own, sum(counts), head_dim)
    for mine, part in zip(torch.split(sent, counts, dim=2), given, strict=True):
        mine.copy_(part.transpose(0, 1))
    whole = value.new_empty(1, tokens, sum(counts), head_dim)
    _exchange(sent, whole, [own] * processes, sizes)
    query, key, value = torch.split(whole, counts, dim=2)
    if eight:
        query, key = to_eight(query), to_eight(key)
    mixed = attend(query, key, value, tokens)
    back = mixed.new_empty(processes, own, counts[0], head_dim)
    _exchange(mixed, back, sizes, [own] * processes)
    return back.transpose(0, 1).flatten(1, 2)[None]


class ParallelTransformer(Transformer):
    """A Transformer whose evaluations all processes make together, of one picture at a time.

    Each calls with the same arguments and gets the whole velocity.
    """

    def __init__(self, whole: Transformer) -> None:
        """Take over the parts of `whole`, the same in every process."""
        super().__init__(whole.rest, whole.blocks)
        for block in whole.blocks:
            assert isinstance(block, Block), "streamed blocks are not shared out"
            between = block.pointwise
            block.attend = partial(attend_together, attend=block.attend, eight=between.eight_heads)
            # Queries, keys and values travel as one, in the numbers that values have.
            block.pointwise = copy(between)
            block.pointwise.eight_heads = False

    def evaluate(
        self,
        latents: torch.Tensor,
        prepared: Prepared,
        shared: torch.Tensor,
        final: torch.Tensor,
    ) -> torch.Tensor:
        """As in one process; the rows are shared out and the velocities collected."""
        text = prepared.text.expand(len(latents), -1, -1)
        x = torch.cat([text, self.rest.img_in(latents)], dim=1)
        tokens = x.shape[1]
        sizes = shares(tokens, distributed.get_world_size())
        rank = distributed.get_rank()
        x, cos, sin = (
            torch.split(whole, sizes, dim=dim)[rank].clone()
            for whole, dim in ((x, 1), (prepared.cos, 0), (prepared.sin, 0))
        )
        for index, block in enumerate(self.blocks):
            x = block(x, shared, (cos, sin), tokens, self.branches_of(index))
        return _collect(self.finish(x, final), sizes)[:, prepared.text_tokens :]


def processes_for(config: Mapping[str, Any], most: int) -> int:
    """Into how many processes, at most so many, the heads of a transformer can be divided."""
    heads = Shape.of(config).kv_heads
    return max(count for count in range(1, most + 1) if heads % count == 0)


def shares(tokens: int, processes: int) -> list[int]:
    """How many rows each process holds; they differ by one at most."""
    few, more = divmod(tokens, processes)
    return [few + (rank < more) for rank in range(processes)]


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory as bytes: a process group knows fewer kinds of numbers than torch."""
    return tensor.view(torch.uint8)


def _collect(mine: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """The rows of all processes, in order, from this one's (B, s, channels)."""
    padded = mine.new_zeros(len(mine), max(sizes), mine.shape[2])
    padded[:, : mine.shape[1]] = mine
    gathered = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather([as_bytes(one) for one in gathered], as_bytes(padded))
    return torch.cat([one[:, :s] for one, s in zip(gathered, sizes, strict=True)], dim=1)


def _exchange(sent: torch.Tensor, received: torch.Tensor, give: list[int], take: list[int]) -> None:
    """Give process p the next `give[p]` rows of `sent`; take `take[p]` from each, in order.

    A row is all heads of one token here.
    """
    each = sent.shape[-2] * sent.shape[-1] * sent.element_size()
    distributed.all_to_all_single(
        as_bytes(received).view(-1),
        as_bytes(sent).view(-1),
        [each * rows for rows in take],
        [each * rows for rows in give],
    )
