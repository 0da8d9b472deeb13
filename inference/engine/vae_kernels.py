"""The VAE's norms, activations and sums as one kernel each, in Triton, for channels last in memory.

diffusers takes eight passes over a picture of up to 400 MB for a norm and its SiLU, and cuDNN's
convolutions one more for their bias: two thirds of a decode. Arithmetic is in float32 and rounded
once. Imported where there is a card.
"""

import torch
import triton
from triton import language as tl

VALUES_EACH = 4096  # that a program holds
WARPS = 4
NORM_MIN = 1e-12  # what functional.normalize divides by at least

_NORM_MIN = tl.constexpr(NORM_MIN)


@triton.jit
def _norm_silu(
    x, bias, gamma, out, pixels, root,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr, EACH: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0).to(tl.int64) * EACH + tl.arange(0, EACH)
    channel = tl.arange(0, BLOCK)
    has = channel < CHANNELS
    inside = (pixel < pixels)[:, None] & has[None, :]
    place = pixel[:, None] * CHANNELS + channel[None, :]
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias + channel, mask=has, other=0.0).to(tl.float32)[None, :]
    norm = tl.maximum(tl.sqrt(tl.sum(value * value, 1)), _NORM_MIN)
    value = value * (root / norm)[:, None]
    value *= tl.load(gamma + channel, mask=has, other=0.0).to(tl.float32)[None, :]
    value *= tl.sigmoid(value)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _join(
    x, other, bias, out, pixels,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0).to(tl.int64) * EACH + tl.arange(0, EACH)
    channel = tl.arange(0, BLOCK)
    has = channel < CHANNELS
    inside = (pixel < pixels)[:, None] & has[None, :]
    place = pixel[:, None] * CHANNELS + channel[None, :]
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(other + place, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + channel, mask=has, other=0.0).to(tl.float32)[None, :]
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


def norm_silu(x: torch.Tensor, bias: torch.Tensor | None, gamma: torch.Tensor) -> torch.Tensor:
    """silu(`gamma` (C,) times the norm over channels of `x` (B, C, H, W) + `bias` (C,))."""
    x = x.contiguous(memory_format=torch.channels_last)
    out, channels = torch.empty_like(x), x.shape[1]
    grid, sizes = _grid(x)
    _norm_silu[grid](
        x,
        bias,
        gamma,
        out,
        x.numel() // channels,
        channels**0.5,
        HAS_BIAS=bias is not None,
        **sizes,
    )
    return out


def join(x: torch.Tensor, other: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """`x` + `other`, both (B, C, H, W), + `bias` (C,)."""
    x, other = (each.contiguous(memory_format=torch.channels_last) for each in (x, other))
    out = torch.empty_like(x)
    grid, sizes = _grid(x)
    _join[grid](x, other, bias, out, x.numel() // x.shape[1], **sizes)
    return out


def _grid(x: torch.Tensor) -> tuple[tuple[int], dict[str, int]]:
    channels = x.shape[1]
    block = triton.next_power_of_2(channels)
    each = max(1, VALUES_EACH // block)
    sizes = {"CHANNELS": channels, "BLOCK": block, "EACH": each, "num_warps": WARPS}
    return (triton.cdiv(x.numel() // channels, each),), sizes
