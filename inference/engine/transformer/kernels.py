"""The functions of `pointwise` as one kernel each, in Triton: every value is read and written once.

Between its matrix products a block only moves memory. torch's compiler makes two or three passes
over each row for it (norm, largest value, rounding); here a program holds a row in registers from
reading to writing, and the work between the products takes half the time (docs/performance.md).
Arithmetic is in float32 and rounded once. Triton comes with torch's CUDA builds; this module is
imported where there is a card.
"""

import torch
import triton
from triton import language as tl

from inference.engine.transformer.pointwise import (
    FLOAT8,
    FLOAT8_MAX,
    SCALE_MIN,
    Modulation,
    Pointwise,
    Product,
    Rows,
)

HEADS_EACH = 16  # that a program turns
VALUES_A_THREAD = 16
WARPS_MAX = 16
WARP = 32  # threads

_LARGEST = tl.constexpr(FLOAT8_MAX)
_SMALLEST = tl.constexpr(SCALE_MIN)


@triton.jit
def _write_rows(
    values, column, inside, row, out, out_scale, WIDTH: tl.constexpr, EIGHT: tl.constexpr
):
    if EIGHT:
        scale = tl.maximum(tl.max(tl.abs(values), 0), _SMALLEST) / _LARGEST
        values = tl.minimum(tl.maximum(values / scale, -_LARGEST), _LARGEST)
        tl.store(out_scale + row, scale)
    tl.store(out + row * WIDTH + column, values.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _scaled(values, row, column, inside, rows, columns, SCALED: tl.constexpr):
    if SCALED:
        values = values * tl.load(rows + row) * tl.load(columns + column, mask=inside, other=0.0)
    return values


@triton.jit
def _modulate(
    x, product, rows, columns, gate, norm, scale, shift, x_out, out, out_scale, eps,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ADDS: tl.constexpr, NORMS: tl.constexpr,
    SCALED: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < WIDTH
    value = tl.load(x + row * WIDTH + column, mask=inside, other=0.0).to(tl.float32)
    if ADDS:
        more = tl.load(product + row * WIDTH + column, mask=inside, other=0.0).to(tl.float32)
        more = _scaled(more, row, column, inside, rows, columns, SCALED)
        value += more * tl.load(gate + column, mask=inside, other=0.0).to(tl.float32)
        rounded = value.to(x_out.dtype.element_ty)
        tl.store(x_out + row * WIDTH + column, rounded, mask=inside)
        value = rounded.to(tl.float32)
    if NORMS:
        value *= tl.rsqrt(tl.sum(value * value, 0) / WIDTH + eps)
        value *= tl.load(norm + column, mask=inside, other=0.0)
        value *= 1.0 + tl.load(scale + column, mask=inside, other=0.0).to(tl.float32)
        value += tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)
        _write_rows(value, column, inside, row, out, out_scale, WIDTH, EIGHT)


@triton.jit
def _turn(
    fused, rows, columns, norm, cos, sin, out, row, place, first, start, eps,
    COUNT: tl.constexpr, FUSED: tl.constexpr, DIM: tl.constexpr, HEADS: tl.constexpr,
    SCALED: tl.constexpr, TURNS: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    """Heads `first` to `first` + HEADS of COUNT, which begin at column `start` of `fused`."""
    head = first + tl.arange(0, HEADS)
    column = head[:, None] * DIM + tl.arange(0, DIM)[None, :]
    inside = (head < COUNT)[:, None]
    value = tl.load(fused + row * FUSED + start + column, mask=inside, other=0.0).to(tl.float32)
    value = _scaled(value, row, start + column, inside, rows, columns, SCALED)
    if TURNS:
        value *= tl.rsqrt(tl.sum(value * value, 1) / DIM + eps)[:, None]
        value *= tl.load(norm + tl.arange(0, DIM))[None, :]
        even, odd = tl.split(tl.reshape(value, (HEADS, DIM // 2, 2)))
        angle = place * (DIM // 2) + tl.arange(0, DIM // 2)
        c, s = tl.load(cos + angle)[None, :], tl.load(sin + angle)[None, :]
        value = tl.reshape(tl.join(even * c - odd * s, odd * c + even * s), (HEADS, DIM))
        if EIGHT:
            value = tl.minimum(tl.maximum(value, -_LARGEST), _LARGEST)
    tl.store(out + row * (COUNT * DIM) + column, value.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["tokens"])
def _heads(
    fused, rows, columns, norm_q, norm_k, cos, sin, query, key, value, eps, tokens,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, FUSED: tl.constexpr, DIM: tl.constexpr,
    HEADS: tl.constexpr, SCALED: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = row % tokens
    part = tl.program_id(1)
    query_parts: tl.constexpr = (QUERIES + HEADS - 1) // HEADS
    key_parts: tl.constexpr = (KEYS + HEADS - 1) // HEADS
    if part < query_parts:
        _turn(
            fused, rows, columns, norm_q, cos, sin, query, row, place, part * HEADS, 0, eps,
            QUERIES, FUSED, DIM, HEADS, SCALED, True, EIGHT,
        )  # fmt: skip
    elif part < query_parts + key_parts:
        _turn(
            fused, rows, columns, norm_k, cos, sin, key, row, place, (part - query_parts) * HEADS,
            QUERIES * DIM, eps, KEYS, FUSED, DIM, HEADS, SCALED, True, EIGHT,
        )  # fmt: skip
    else:
        _turn(
            fused, rows, columns, norm_k, cos, sin, value, row, place,
            (part - query_parts - key_parts) * HEADS, (QUERIES + KEYS) * DIM, eps,
            KEYS, FUSED, DIM, HEADS, SCALED, False, False,
        )  # fmt: skip


@triton.jit
def _gate(
    mixed, fused, rows, columns, out, out_scale,
    WIDTH: tl.constexpr, FUSED: tl.constexpr, BLOCK: tl.constexpr,
    SCALED: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < WIDTH
    start: tl.constexpr = FUSED - WIDTH
    value = tl.load(mixed + row * WIDTH + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(fused + row * FUSED + start + column, mask=inside, other=0.0).to(tl.float32)
    gate = _scaled(gate, row, start + column, inside, rows, columns, SCALED)
    _write_rows(value * tl.sigmoid(gate), column, inside, row, out, out_scale, WIDTH, EIGHT)


@triton.jit
def _swiglu(
    fused, rows, columns, out, out_scale,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, SCALED: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < WIDTH
    begin = fused + row * (2 * WIDTH)
    gate = tl.load(begin + column, mask=inside, other=0.0).to(tl.float32)
    gate = _scaled(gate, row, column, inside, rows, columns, SCALED)
    up = tl.load(begin + WIDTH + column, mask=inside, other=0.0).to(tl.float32)
    up = _scaled(up, row, WIDTH + column, inside, rows, columns, SCALED)
    value = gate * tl.sigmoid(gate) * up
    _write_rows(value, column, inside, row, out, out_scale, WIDTH, EIGHT)


class FusedPointwise(Pointwise):
    """As `Pointwise`, for contiguous rows on a card."""

    def modulated(self, x: torch.Tensor, norm: torch.Tensor, by: Modulation) -> Rows:
        """As in `Pointwise`."""
        rows = self._empty(x)
        self._modulate(x, rows, norm=(norm, by))
        return rows

    def added(self, x: torch.Tensor, product: Product, gate: torch.Tensor) -> torch.Tensor:
        """As in `Pointwise`."""
        out = torch.empty_like(x)
        self._modulate(x, Rows(x), product=product, gate=gate, x_out=out)
        return out

    def added_and_modulated(
        self,
        x: torch.Tensor,
        product: Product,
        gate: torch.Tensor,
        norm: torch.Tensor,
        by: Modulation,
    ) -> tuple[torch.Tensor, Rows]:
        """As in `Pointwise`."""
        out, rows = torch.empty_like(x), self._empty(x)
        self._modulate(x, rows, product=product, gate=gate, norm=(norm, by), x_out=out)
        return out, rows

    def heads(
        self,
        fused: Product,
        widths: tuple[int, int],
        norms: tuple[torch.Tensor, torch.Tensor],
        table: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As in `Pointwise`; a value that needs no scaling is a view of `fused`."""
        values, dim = fused.values, len(norms[0])
        queries, keys = (width // dim for width in widths)
        scaled = fused.rows is not None
        dtype = FLOAT8 if self.eight_heads else values.dtype
        query, key = (
            values.new_empty(len(values), count, dim, dtype=dtype) for count in (queries, keys)
        )
        if scaled:
            value = values.new_empty(key.shape)
        else:
            start = sum(widths)
            value = values[:, start : start + widths[1]].unflatten(1, (keys, dim))
        parts = triton.cdiv(queries, HEADS_EACH) + (2 if scaled else 1) * triton.cdiv(
            keys, HEADS_EACH
        )
        _heads[len(values), parts](
            values, fused.rows, fused.columns, *norms, *table, query, key, value,
            self.eps, len(table[0]),
            QUERIES=queries, KEYS=keys, FUSED=values.shape[1], DIM=dim, HEADS=HEADS_EACH,
            SCALED=scaled, EIGHT=self.eight_heads, num_warps=_warps(HEADS_EACH * dim),
        )  # fmt: skip
        return query, key, value

    def gated(self, mixed: torch.Tensor, fused: Product) -> Rows:
        """As in `Pointwise`."""
        rows, width = self._empty(mixed), mixed.shape[1]
        block = triton.next_power_of_2(width)
        _gate[(len(mixed),)](
            mixed, *fused, *rows, WIDTH=width, FUSED=fused.values.shape[1], BLOCK=block,
            SCALED=fused.rows is not None, EIGHT=self.eight, num_warps=_warps(block),
        )  # fmt: skip
        return rows

    def swiglu(self, fused: Product) -> Rows:
        """As in `Pointwise`."""
        width = fused.values.shape[1] // 2
        rows = self._empty(fused.values[:, :width])
        block = triton.next_power_of_2(width)
        _swiglu[(len(fused.values),)](
            *fused, *rows, WIDTH=width, BLOCK=block, SCALED=fused.rows is not None,
            EIGHT=self.eight, num_warps=_warps(block),
        )  # fmt: skip
        return rows

    def _modulate(
        self,
        x: torch.Tensor,
        rows: Rows,
        *,
        product: Product | None = None,
        gate: torch.Tensor | None = None,
        norm: tuple[torch.Tensor, Modulation] | None = None,
        x_out: torch.Tensor | None = None,
    ) -> None:
        """Add `product` times `gate` to `x` if there is one, norm and modulate if asked to."""
        width = x.shape[1]
        block = triton.next_power_of_2(width)
        scaled = product is not None and product.rows is not None
        scales = (norm[0], *norm[1]) if norm else (None, None, None)
        _modulate[(len(x),)](
            x, *(product or (None, None, None)), gate, *scales, x_out, *rows, self.eps,
            WIDTH=width, BLOCK=block, ADDS=product is not None, NORMS=norm is not None,
            SCALED=scaled, EIGHT=self.eight, num_warps=_warps(block),
        )  # fmt: skip

    def _empty(self, like: torch.Tensor) -> Rows:
        shape = like.shape
        if not self.eight:
            return Rows(like.new_empty(shape))
        scale = like.new_empty(shape[0], 1, dtype=torch.float32)
        return Rows(like.new_empty(shape, dtype=FLOAT8), scale)


def _warps(values: int) -> int:
    return max(1, min(WARPS_MAX, values // (WARP * VALUES_A_THREAD)))
