"""One picture over several processes: each holds a share of the rows (Ulysses' context parallel).

Everything but attention works on rows, so each process keeps 1/P of them. For attention the rows
are exchanged for heads (each process then has all rows of 1/P of the heads) and back: two
exchanges a block. Shares may differ by a row, so no padding is attended to. diffusers'
`enable_parallelism` has no plan for Krea 2 and works on its attention processors, which the fused
block has none of.
"""

from functools import partial

import torch
from torch import distributed
from torch.distributed import distributed_c10d

from inference.engine.transformer.attention import Kernel, attend
from inference.engine.transformer.block import Block, Shape
from inference.engine.transformer.model import Prepared, Transformer


def attend_together(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    tokens: int,
    *,
    kernel: Kernel,
    group: str,
) -> torch.Tensor:
    """As `attend`, for this process's rows (B, s, heads, D) of `tokens` in the named group."""
    members = _named(group)
    sizes = shares(tokens, members.size())
    parts = [tensor.chunk(members.size(), dim=2) for tensor in (query, key, value)]
    sent = [torch.cat(mine, dim=2) for mine in zip(*parts, strict=True)]
    batch, _, heads, head_dim = sent[0].shape
    shapes = [(batch, size, heads, head_dim) for size in sizes]
    mixed = torch.cat(_exchange(sent, shapes, members), dim=1)
    groups = query.shape[2] // key.shape[2]
    keys = heads // (groups + 2)
    query_part, key_part, value_part = torch.split(mixed, [groups * keys, keys, keys], dim=2)
    mixed = attend(query_part, key_part, value_part, mixed.shape[1], kernel=kernel)
    back = list(torch.split(mixed, sizes, dim=1))
    mine = (batch, query.shape[1], groups * keys, head_dim)
    return torch.cat(_exchange(back, [mine] * members.size(), members), dim=2)


class ParallelTransformer(Transformer):
    """A Transformer whose evaluations all processes of a group make together.

    Each calls with the same arguments and gets the whole velocity.
    """

    def __init__(self, whole: Transformer, members: distributed.ProcessGroup) -> None:
        """Take over the parts of `whole`, whose blocks must attend with `together`."""
        super().__init__(whole.rest, whole.blocks)
        self.group = members.group_name

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
        members = _named(self.group)
        sizes = shares(tokens, members.size())
        rank = members.rank()
        x, cos, sin = (
            torch.split(whole, sizes, dim=dim)[rank].clone()
            for whole, dim in ((x, 1), (prepared.cos, 0), (prepared.sin, 0))
        )
        for index, block in enumerate(self.blocks):
            x = block(x, shared, (cos, sin), tokens, self.branches_of(index))
        return self._collect(self.finish(x, final), sizes)[:, prepared.text_tokens :]

    def _collect(self, mine: torch.Tensor, sizes: list[int]) -> torch.Tensor:
        most = max(sizes)
        padded = mine.new_zeros(len(mine), most, mine.shape[2])
        padded[:, : mine.shape[1]] = mine
        gathered = mine.new_empty(len(sizes) * len(mine), *padded.shape[1:])
        distributed.all_gather_into_tensor(gathered, padded, group=_named(self.group))
        each = zip(gathered.chunk(len(sizes)), sizes, strict=True)
        return torch.cat([one[:, :size] for one, size in each], dim=1)


def heads_each(shape: Shape, processes: int) -> tuple[int, int]:
    """How many query and key heads each of `processes` gets.

    Raises ValueError when the heads cannot be divided among them.
    """
    if shape.kv_heads % processes:
        raise ValueError(
            f"{shape.kv_heads} key heads cannot be divided among {processes} processes"
        )
    return shape.heads // processes, shape.kv_heads // processes


def share_out(whole: Transformer, kernel: Kernel, members: distributed.ProcessGroup) -> Transformer:
    """`whole`, the same in every process, as one that `members` evaluate together.

    Raises ValueError when its heads cannot be divided among them.
    """
    for block in whole.blocks:
        assert isinstance(block, Block)
        heads_each(block.shape, members.size())
        block.pointwise.eight_heads = False  # queries, keys and values travel as one
        block.attend = partial(attend_together, kernel=kernel, group=members.group_name)
    return ParallelTransformer(whole, members)


def shares(tokens: int, processes: int) -> list[int]:
    """How many rows each process holds; they differ by one at most."""
    few, more = divmod(tokens, processes)
    return [few + (rank < more) for rank in range(processes)]


def _named(group: str) -> distributed.ProcessGroup:
    """The group of that name. Nothing keeps it: it must be gone before the interpreter is."""
    return distributed_c10d._resolve_process_group(group)  # type: ignore[attr-defined, arg-type]  # noqa: SLF001 - how torch's own collectives look a group up


def _exchange(
    sent: list[torch.Tensor],
    shapes: list[tuple[int, int, int, int]],
    members: distributed.ProcessGroup,
) -> list[torch.Tensor]:
    """Give `sent[p]` to each process p; get from each a tensor of `shapes[p]`."""
    counts = [torch.Size(shape).numel() for shape in shapes]
    received = sent[0].new_empty(sum(counts))
    distributed.all_to_all_single(
        received,
        torch.cat([tensor.flatten() for tensor in sent]),
        counts,
        [tensor.numel() for tensor in sent],
        group=members,
    )
    pieces = zip(torch.split(received, counts), shapes, strict=True)
    return [piece.view(shape) for piece, shape in pieces]
