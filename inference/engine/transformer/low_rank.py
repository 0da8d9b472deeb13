"""What LoRAs add to a projection: two narrow matrix products beside the wide one.

y = W x + U (D x). W stays as it is in every precision, so nothing has to be taken out again: where
there is no LoRA the branch is absent, and the bytes are those of a model that never had one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from inference.engine.transformer.pointwise import to_float8

# Adds to a product (R, out) what `up` (out, parts * rank) makes of (R, parts * rank), where the
# parts are so many outputs wide.
Add = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Sequence[int]], None]


def add_along(
    product: torch.Tensor, narrow: torch.Tensor, up: torch.Tensor, _widths: Sequence[int]
) -> None:
    """All parts in one matrix product, with the zeros beside the diagonal: faster than each."""
    product.addmm_(narrow, up.t())


class Branch(NamedTuple):
    """For a projection of several fused parts, each with a rank of its own of the same size.

    `up` holds the parts' upper halves along its diagonal and zeros beside them. Beside a projection
    in 8 bits, `down` is in 8 bits too, and `columns` are the projection's scales: the scales of
    `down` and the inverse of `columns` are multiplied into `up`, so that what the branch adds is to
    be scaled like what it is added to.
    """

    down: torch.Tensor  # (parts * rank, in)
    up: torch.Tensor  # (out, parts * rank)
    rank: int  # of each part
    widths: Sequence[int]  # outputs of each part
    columns: torch.Tensor | None = None  # (out,)
    add: Add = add_along

    def add_to(self, product: torch.Tensor, narrow: torch.Tensor) -> None:
        """Add to a product (R, out) what is made of the lower half's answer (R, parts * rank)."""
        self.add(product, narrow, self.up, self.widths)

    def clear(self) -> None:
        """Add nothing."""
        self.down.zero_()
        self.up.zero_()

    def write(self, down: torch.Tensor, up: torch.Tensor, place: tuple[int, int, int]) -> None:
        """Write one LoRA's halves (rank, in) and (out, rank), both on the device.

        `place` is the part, where that begins in `self.up`, and from which rank on to write.
        """
        part, begins, first = place
        first += part * self.rank
        outputs, ranks = slice(begins, begins + len(up)), slice(first, first + len(down))
        if self.columns is not None:
            down, scale = to_float8(down)
            up = up.float() * scale.T / self.columns[outputs, None]
        self.down[ranks].copy_(down)
        self.up[outputs, ranks].copy_(up)


class BlockBranches(NamedTuple):
    """One for each projection of a block."""

    attention_in: Branch | None = None
    attention_out: Branch | None = None
    feed_in: Branch | None = None
    feed_out: Branch | None = None


NO_BRANCHES = BlockBranches()


def add_to_linear(out: torch.Tensor, given: torch.Tensor, branch: Branch) -> None:
    """Add to `out` (…, out) of a plain layer what the branch makes of what it was given (…, in)."""
    narrow = functional.linear(given.flatten(0, -2), branch.down)
    branch.add_to(out.view(-1, out.shape[-1]), narrow)
