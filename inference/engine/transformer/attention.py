"""Attention by the fastest kernel that this machine's torch has for it.

A custom operator, so that a compiled block sees one opaque call and the kernel is chosen while it
runs, for any length. It replaces diffusers' dispatch, which repeats the key and value heads to the
number of query heads (a copy of 100 MB a block at 1,024 pixels); cuDNN reads grouped heads as they
are.

A kernel is called by its own name and not through torch's switches for kernels: those belong to
the whole process, and the text encoder and the VAE, which draw beside us, would find theirs off.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

aten = torch.ops.aten
Kernel = Literal["cudnn", "cudnn-repeated", "flash", "any"]
# Of query, key, value and the number of rows of the whole sequence.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]

# In the order of their speed on Hopper; the last one works everywhere.
KERNELS: tuple[Kernel, ...] = ("cudnn", "cudnn-repeated", "flash", "any")
TRIAL_TOKENS = 256
TRIAL_TOLERANCE = 0.02  # of bfloat16 rounding, relative to the largest value
# What the named kernels take. They are asked directly, and nobody would refuse the rest for them.
HALVES = (torch.bfloat16, torch.float16)
HEAD_DIM_MAX, HEAD_DIM_STEP = 128, 8


@torch.library.custom_op("atelier::attend", mutates_args=())
def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tokens: int, kernel: str
) -> torch.Tensor:
    """Attention over (B, S, heads, D); `key` and `value` may have fewer heads. No mask."""
    del tokens  # all of them are here
    return compute(query, key, value, kernel)


@attend.register_fake
def _(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tokens: int, kernel: str
) -> torch.Tensor:
    del key, value, tokens, kernel
    return torch.empty_like(query, memory_format=torch.contiguous_format)


def compute(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, kernel: str
) -> torch.Tensor:
    """As `attend`, outside the operator: (B, S, heads, D), contiguous."""
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


def fastest(
    device: torch.device, dtype: torch.dtype, heads: tuple[int, int], head_dim: int
) -> Kernel:
    """The first of KERNELS that runs here and gives what the plain one gives.

    `heads` are those of queries and of keys. A CPU has only the plain one, and so has float32.
    """
    fits = dtype in HALVES and head_dim <= HEAD_DIM_MAX and head_dim % HEAD_DIM_STEP == 0
    if device.type != "cuda" or not fits:
        return "any"
    generator = torch.Generator(device).manual_seed(0)
    query, key, value = (
        torch.randn(
            1, TRIAL_TOKENS + 5, count, head_dim, device=device, dtype=dtype, generator=generator
        )
        for count in (heads[0], heads[1], heads[1])
    )
    expected = compute(query, key, value, "any").float()
    for kernel in KERNELS:
        try:
            got = compute(query, key, value, kernel).float()
        except (RuntimeError, TypeError):  # this torch or card lacks it, or gives it other words
            continue
        if float((got - expected).abs().max() / expected.abs().max()) <= TRIAL_TOLERANCE:
            return kernel
    return "any"
