"""Which form of the arithmetic between matrix products runs on this machine."""

from collections.abc import Callable, Sequence
from functools import cache

import torch

from inference.engine.transformer.block import Shape
from inference.engine.transformer.low_rank import Add, add_along
from inference.engine.transformer.pointwise import Pointwise, Product, Rows
from inference.engine.trial import runs

TRIAL_ROWS = 3
# Norm of the difference over the norm: one rounding or several, some to the next 8-bit number.
TRIAL_TOLERANCE = 0.03


def fastest_pointwise(
    device: torch.device, dtype: torch.dtype, shape: Shape, *, eight: bool, eight_heads: bool
) -> Pointwise:
    """The fused kernels if they run on `device` and give what the plain functions give."""
    plain = Pointwise(shape.eps, eight=eight, eight_heads=eight_heads)
    if device.type != "cuda":
        return plain
    found: list[Pointwise] = []

    def agrees() -> bool:
        from inference.engine.transformer.kernels import FusedPointwise  # noqa: PLC0415 - needs Triton

        found.append(FusedPointwise(shape.eps, eight=eight, eight_heads=eight_heads))
        return _agree(plain, found[0], device, dtype, shape)

    return found[0] if runs(agrees, "blocks take plain functions, and are slower.") else plain


def fastest_add(device: torch.device, dtype: torch.dtype, widths: Sequence[int]) -> Add:
    """What adds a LoRA's upper half to a projection of parts that wide: a kernel if it can."""
    # In float32 its matrix product would be rounded as no other is.
    found = _kernel_add(dtype) if device.type == "cuda" and dtype.itemsize == 2 else None  # noqa: PLR2004 - bytes
    if found is None:
        return add_along
    add, takes = found
    return add if takes(widths) else add_along


@cache
def _kernel_add(dtype: torch.dtype) -> tuple[Add, Callable[[Sequence[int]], bool]] | None:
    """The kernel, if it runs on this card and gives what the plain function gives."""
    found: list[tuple[Add, Callable[[Sequence[int]], bool]]] = []

    def agrees() -> bool:
        from inference.engine.transformer import low_rank_kernels as kernels  # noqa: PLC0415 - needs Triton

        widths, rank = [256, 128], 16
        generator = torch.Generator("cuda").manual_seed(0)
        ours, narrow, up = (
            torch.randn(size, generator=generator, device="cuda", dtype=dtype)
            for size in ((TRIAL_ROWS, 384), (TRIAL_ROWS, 32), (384, 32))
        )
        up[:256, rank:], up[256:, :rank] = 0, 0
        theirs = ours.clone()
        kernels.add_up(ours, narrow, up, widths)
        add_along(theirs, narrow, up, widths)
        found.append((kernels.add_up, kernels.takes))
        return float((ours - theirs).float().norm()) <= TRIAL_TOLERANCE * float(theirs.norm())

    return found[0] if runs(agrees, "LoRAs take plain functions, and are slower.") else None


def _agree(
    plain: Pointwise, fused: Pointwise, device: torch.device, dtype: torch.dtype, shape: Shape
) -> bool:
    """Try every function on random rows of the model's width."""
    generator = torch.Generator(device).manual_seed(0)

    def draw(*size: int, dtype: torch.dtype = dtype) -> torch.Tensor:
        return torch.randn(size, generator=generator, device=device, dtype=dtype)

    def product(width: int) -> Product:
        values = draw(TRIAL_ROWS, width)
        if not plain.eight:
            return Product(values)
        rows, columns = draw(TRIAL_ROWS, 1, dtype=torch.float32), draw(width, dtype=torch.float32)
        return Product(values, rows.exp(), columns.exp())

    width, norm = shape.width, draw(shape.width, dtype=torch.float32).exp()
    x, added = draw(TRIAL_ROWS, width), product(width)
    fused_in = product(sum(shape.attention_parts))
    by, gate = (draw(width), draw(width)), draw(width)
    angles = draw(TRIAL_ROWS, shape.head_dim // 2, dtype=torch.float32)
    norms = (norm[: shape.head_dim], norm[-shape.head_dim :])
    widths = (shape.attention_parts[0], shape.attention_parts[1])
    pair = product(2 * width)

    def answers(form: Pointwise) -> list[torch.Tensor]:
        after, rows = form.added_and_modulated(x, added, gate, norm, by)
        heads = form.heads(fused_in, widths, norms, (angles.cos(), angles.sin()))
        made = [form.modulated(x, norm, by), rows, form.gated(x, fused_in), form.swiglu(pair)]
        return [
            after,
            form.added(x, added, gate),
            *map(torch.Tensor.float, heads),
            *map(_whole, made),
        ]

    return all(
        float((ours - theirs).float().norm()) <= TRIAL_TOLERANCE * float(theirs.float().norm())
        for ours, theirs in zip(answers(fused), answers(plain), strict=True)
    )


def _whole(rows: Rows) -> torch.Tensor:
    return rows.values if rows.scale is None else rows.values.float() * rows.scale
