"""What a LoRA adds to a projection, in Triton: one pass over the product instead of cuBLAS' two.

The upper half is a product so narrow that all of its time is the reading and writing of what it is
added to. cuBLAS reaches half of the memory's rate there, and multiplies the zeros beside the
diagonal as well. Imported where there is a card.
"""

from collections.abc import Sequence

import torch
import triton
from triton import language as tl

ROWS, COLUMNS = 64, 128  # of a program's piece
RANKS_MAX = 32  # that it multiplies at once
WARPS = 4
PARTS_MAX = 4
BEYOND = 2**31 - 1  # where a part that is not there begins


@triton.jit
def _add_up(
    product, narrow, up, rows, width, ranks,
    second, third, fourth,
    RANK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, RANKS: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * COLUMNS
    part = (first >= second).to(tl.int32) + (first >= third).to(tl.int32)
    part += (first >= fourth).to(tl.int32)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = first + tl.arange(0, COLUMNS)
    is_row = (row < rows)[:, None]
    added = tl.zeros((ROWS, COLUMNS), tl.float32)
    for begin in range(0, RANK, RANKS):
        rank = part * RANK + begin + tl.arange(0, RANKS)
        left = tl.load(narrow + row[:, None] * ranks + rank[None, :], mask=is_row, other=0.0)
        right = tl.load(up + column[None, :] * ranks + rank[:, None])
        added = tl.dot(left, right, added)
    place = product + row.to(tl.int64)[:, None] * width + column[None, :]
    value = tl.load(place, mask=is_row, other=0.0).to(tl.float32) + added
    tl.store(place, value.to(product.dtype.element_ty), mask=is_row)


def add_up(
    product: torch.Tensor, narrow: torch.Tensor, up: torch.Tensor, widths: Sequence[int]
) -> None:
    """As `low_rank.add_along`; contiguous, and the parts whole COLUMNS wide."""
    ranks = up.shape[1]
    rank = ranks // len(widths)
    begins = [sum(widths[:part]) for part in range(1, len(widths))]
    begins += [BEYOND] * (PARTS_MAX - len(widths))
    grid = (product.shape[1] // COLUMNS, triton.cdiv(len(product), ROWS))
    _add_up[grid](
        product, narrow, up, len(product), product.shape[1], ranks, *begins,
        RANK=rank, ROWS=ROWS, COLUMNS=COLUMNS, RANKS=min(rank, RANKS_MAX), num_warps=WARPS,
    )  # fmt: skip


def takes(widths: Sequence[int]) -> bool:
    """Whether a projection of parts that wide is in whole pieces."""
    return len(widths) <= PARTS_MAX and all(width % COLUMNS == 0 for width in widths)
