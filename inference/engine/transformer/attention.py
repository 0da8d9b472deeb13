"""Attention by the fastest kernel that this machine has for it.

It replaces diffusers' dispatch, which repeats the key and value heads to the number of query heads
(a copy of 100 MB a block at 1,024 pixels); cuDNN reads grouped heads as they are. Where the matrix
products are in 8 bits, so are attention's ("float8"), by our own kernel.

A kernel is called by its own name and not through torch's switches for kernels: those belong to
the whole process, and the text encoder and the VAE, which draw beside us, would find theirs off.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

from inference.engine.transformer.pointwise import FLOAT8, to_float8
from inference.engine.trial import runs

aten = torch.ops.aten
Kernel = Literal["float8", "cudnn", "cudnn-repeated", "flash", "any"]
# Of query, key, value and the number of rows of the whole sequence.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]

# In the order of their speed on Hopper; the last one works everywhere.
KERNELS: tuple[Kernel, ...] = ("cudnn", "cudnn-repeated", "flash", "any")
TRIAL_TOKENS = 256
TRIAL_TOLERANCE = 0.02  # of bfloat16 rounding, relative to the largest value
# What the named kernels take. They are asked directly, and nobody would refuse the rest for them.
HALVES = (torch.bfloat16, torch.float16)
HEAD_DIM_MAX, HEAD_DIM_STEP = 128, 8
HEAD_DIMS_FLOAT8 = (64, 128)
TRIAL_TOLERANCE_FLOAT8 = 0.1  # norm of the difference over the norm, of random numbers
PROBABILITY_SCALE = 256.0  # as in `attention_kernels`


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tokens: int, *, kernel: Kernel
) -> torch.Tensor:
    """Attention over (B, S, heads, D); `key` and `value` may have fewer heads. No mask."""
    del tokens  # all of them are here
    if kernel == "float8":
        return _attend8(query, key, value)
    groups = query.shape[2] // key.shape[2]
    if groups > 1 and kernel != "cudnn":
        key = key.repeat_interleave(groups, dim=2)
        value = value.repeat_interleave(groups, dim=2)
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    if kernel == "any":
        mixed = functional.scaled_dot_product_attention(query, key, value)
    elif kernel == "flash":
        mixed = aten._scaled_dot_product_flash_attention(query, key, value)[0]  # noqa: SLF001 - see above
    else:  # without a bias, and without the sums that a backward pass would need
        mixed = aten._scaled_dot_product_cudnn_attention(query, key, value, None, False)[0]  # noqa: SLF001 - as above
    return mixed.transpose(1, 2).contiguous()


def _attend8(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """With queries and keys in 8 bits, and `value` to be rounded to them."""
    if query.is_cuda:
        from inference.engine.transformer.attention_kernels import attend8  # noqa: PLC0415 - needs Triton

        mixed: torch.Tensor = attend8(query, key, value)
        return mixed
    # What that kernel computes, in plain torch: to judge what 8 bits do to a picture.
    groups = query.shape[2] // key.shape[2]
    columns, scale = to_float8(value.permute(0, 2, 3, 1))  # each channel over the rows
    keys, values, scales = (
        part.float().repeat_interleave(groups, dim=1)
        for part in (key.permute(0, 2, 3, 1), columns.transpose(2, 3), scale.transpose(2, 3))
    )
    scores = query.float().transpose(1, 2) @ keys / query.shape[3] ** 0.5
    probability = (scores - scores.amax(-1, keepdim=True)).exp()
    rounded = (probability * PROBABILITY_SCALE).to(FLOAT8).float()
    sums = probability.sum(-1, keepdim=True) * PROBABILITY_SCALE
    mixed = rounded @ values * scales / sums
    return mixed.transpose(1, 2).to(value.dtype).contiguous()


def fastest(
    device: torch.device,
    dtype: torch.dtype,
    heads: tuple[int, int],
    head_dim: int,
    *,
    eight: bool = False,
) -> Kernel:
    """The first of KERNELS that runs here and gives what the plain one gives.

    `heads` are those of queries and of keys; `eight` asks for 8-bit products. A CPU has only the
    plain ones.
    """
    if eight and (device.type != "cuda" or _runs_float8(device, dtype, heads, head_dim)):
        return "float8"
    fits = dtype in HALVES and head_dim <= HEAD_DIM_MAX and head_dim % HEAD_DIM_STEP == 0
    if device.type != "cuda" or not fits:
        return "any"
    query, key, value = _trial(device, dtype, heads, head_dim)
    expected = attend(query, key, value, TRIAL_TOKENS, kernel="any").float()
    for kernel in KERNELS:
        try:
            got = attend(query, key, value, TRIAL_TOKENS, kernel=kernel).float()
        except (RuntimeError, TypeError):  # this torch or card lacks it, or gives it other words
            continue
        if float((got - expected).abs().max() / expected.abs().max()) <= TRIAL_TOLERANCE:
            return kernel
    return "any"


def _runs_float8(
    device: torch.device, dtype: torch.dtype, heads: tuple[int, int], head_dim: int
) -> bool:
    if head_dim not in HEAD_DIMS_FLOAT8:
        return False

    def agrees() -> bool:
        query, key, value = _trial(device, dtype, heads, head_dim)
        expected = attend(query, key, value, TRIAL_TOKENS, kernel="any").float()
        rounded = query.to(FLOAT8), key.to(FLOAT8)
        got = attend(*rounded, value, TRIAL_TOKENS, kernel="float8").float()
        return float((got - expected).norm() / expected.norm()) <= TRIAL_TOLERANCE_FLOAT8

    return runs(agrees, "attention stays in 16 bits.")


def _trial(
    device: torch.device, dtype: torch.dtype, heads: tuple[int, int], head_dim: int
) -> list[torch.Tensor]:
    """Random query, key and value, of a length that fills no block."""
    generator = torch.Generator(device).manual_seed(0)
    counts = (heads[0], heads[1], heads[1])
    shapes = [(1, TRIAL_TOKENS + 5, count, head_dim) for count in counts]
    return [torch.randn(s, device=device, dtype=dtype, generator=generator) for s in shapes]
