"""What LoRAs add to a projection: two narrow matrix products beside the wide one.

y = W x + U (D x). W stays as it is in every precision, so nothing has to be taken out again: where
there is no LoRA the branch is absent, and the bytes are those of a model that never had one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional


class Branch(NamedTuple):
    """For a projection of several fused parts, each part with a rank of its own of the same size.

    Both are tensors of their own, not views: compiled code would be made anew for each offset.
    """

    # Of three dimensions, so that the compiler never takes `parts * rank` for another size that
    # happens to be as large, and then compiles again for the next rank.
    down: torch.Tensor  # (parts, rank, in)
    up: torch.Tensor  # (out, rank)

    @property
    def rank(self) -> int:
        """Of each part."""
        return self.up.shape[1]


class BlockBranches(NamedTuple):
    """One for each projection of a block."""

    attention_in: Branch | None = None
    attention_out: Branch | None = None
    feed_in: Branch | None = None
    feed_out: Branch | None = None


NO_BRANCHES = BlockBranches()


def add_branch(
    product: torch.Tensor, x: torch.Tensor, branch: Branch | None, parts: Sequence[int]
) -> torch.Tensor:
    """`product` (…, out) of a projection of `x` (…, in), with what the branch adds.

    `parts` are the widths of the parts that the projection fuses; their sum is `out`.
    """
    if branch is None:
        return product
    narrow = functional.linear(x, branch.down.flatten(0, 1))
    narrow = narrow.view(*narrow.shape[:-1], *branch.down.shape[:2])
    ups = torch.split(branch.up, list(parts))
    added = [functional.linear(one, up) for one, up in zip(narrow.unbind(-2), ups, strict=True)]
    return product + (added[0] if len(added) == 1 else torch.cat(added, dim=-1))
