"""What a block does between its matrix products, in plain torch: norms, rotation, gates, SwiGLU.

Everything works on rows (R, width), one a token. `Pointwise` runs everywhere and is what the fused
kernels of `kernels` are compared with; a block calls either by the same names.
"""

from typing import NamedTuple

import torch
from torch.nn import functional

FLOAT8 = torch.float8_e4m3fn
FLOAT8_MAX = torch.finfo(FLOAT8).max
SCALE_MIN = 1e-12  # of a row of zeros, which must not be divided by zero

Modulation = tuple[torch.Tensor, torch.Tensor]  # scale and shift, each (width,)


class Rows(NamedTuple):
    """What a matrix product reads, (R, width): as it is, or in 8 bits to be taken times `scale`."""

    values: torch.Tensor
    scale: torch.Tensor | None = None  # (R, 1)


class Product(NamedTuple):
    """What a matrix product wrote, (R, width): as it is, or to be taken times both scales.

    The scales are left to whoever reads the product: torch's matrix kernels for scales of rows are
    slower, and a float of 16 bits loses nothing by being scaled later.
    """

    values: torch.Tensor
    rows: torch.Tensor | None = None  # (R, 1)
    columns: torch.Tensor | None = None  # (width,)

    @property
    def scaled(self) -> torch.Tensor:
        """The product itself."""
        if self.rows is None or self.columns is None:
            return self.values
        return (self.values * self.rows * self.columns).to(self.values.dtype)


class Pointwise:
    """The functions of one precision.

    `eight` says whether matrix products read 8-bit rows, `eight_heads` whether attention reads
    8-bit queries and keys.
    """

    def __init__(self, eps: float, *, eight: bool, eight_heads: bool = False) -> None:
        """Take the norms' `eps`."""
        self.eps = eps
        self.eight = eight
        self.eight_heads = eight_heads

    def modulated(self, x: torch.Tensor, norm: torch.Tensor, by: Modulation) -> Rows:
        """Rows of `x`, normed with the scale `norm` (width,), then the time's scale and shift."""
        scale, shift = by
        return self._rounded((1.0 + scale) * self._norm(x, norm) + shift)

    def heads(
        self,
        fused: Product,
        widths: tuple[int, int],
        norms: tuple[torch.Tensor, torch.Tensor],
        table: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query, key and value, each (R, heads, head_dim), the first two normed and rotated.

        `fused` begins with the three; `widths` are those of query and of key. `norms` are
        (head_dim,) each, `table` cosines and sines (S, head_dim / 2) for S rows of each picture.
        """
        query_width, key_width = widths
        parts = fused.scaled[:, : query_width + 2 * key_width]
        head_dim = len(norms[0])
        query, key, value = (
            part.reshape(len(part), -1, head_dim)
            for part in torch.split(parts, [query_width, key_width, key_width], dim=-1)
        )
        cos, sin = (half.repeat(len(query) // len(half), 1) for half in table)
        query, key = (
            rotate(self._norm(part, norm), cos, sin)
            for part, norm in zip((query, key), norms, strict=True)
        )
        if self.eight_heads:  # after a norm they need no scale
            query, key = to_eight(query), to_eight(key)
        return query, key, value

    def gated(self, mixed: torch.Tensor, fused: Product) -> Rows:
        """Rows of attention's answer `mixed` (R, width), by the gate that ends `fused`."""
        return self._rounded(mixed * torch.sigmoid(fused.scaled[:, -mixed.shape[1] :]))

    def added(self, x: torch.Tensor, product: Product, gate: torch.Tensor) -> torch.Tensor:
        """`x` + `gate` times the product, all (R, width) but the gate (width,)."""
        return x + gate * product.scaled

    def added_and_modulated(
        self,
        x: torch.Tensor,
        product: Product,
        gate: torch.Tensor,
        norm: torch.Tensor,
        by: Modulation,
    ) -> tuple[torch.Tensor, Rows]:
        """`added`, and the rows of it that `modulated` makes."""
        x = self.added(x, product, gate)
        return x, self.modulated(x, norm, by)

    def swiglu(self, fused: Product) -> Rows:
        """Rows of silu(first half) times the second half."""
        gate, up = fused.scaled.chunk(2, dim=-1)
        return self._rounded(functional.silu(gate) * up)

    def _norm(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """In float32, as the checkpoint format asks."""
        return functional.rms_norm(x.float(), scale.shape, scale, self.eps).to(x.dtype)

    def _rounded(self, values: torch.Tensor) -> Rows:
        return Rows(*to_float8(values)) if self.eight else Rows(values)


def to_float8(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`values` (R, width) in 8 bits, and what each row (R, 1) was divided by to fill the range."""
    scale = values.abs().amax(-1, keepdim=True).float().clamp(min=SCALE_MIN) / FLOAT8_MAX
    return to_eight(values.float() / scale), scale


def to_eight(values: torch.Tensor) -> torch.Tensor:
    """`values` in 8 bits without a scale."""
    return values.clamp(-FLOAT8_MAX, FLOAT8_MAX).to(FLOAT8)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn neighbouring pairs of (R, heads, head_dim) by angles of (R, head_dim / 2)."""
    even, odd = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = cos[:, None], sin[:, None]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return turned.flatten(-2).to(x.dtype)
