"""The mathematics of the flow: times, noise, velocity, positions, guidance, the Euler sampler.

A picture's latents x0 and noise e are joined by the straight line x_t = (1 - t) x0 + t e; the
transformer learns its velocity e - x0. Everything here is a pure function of its arguments and
follows `Krea2Pipeline` exactly, so that what is trained is what is later sampled. Raw, Turbo, LoRA
and evaluation call it.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

# Krea 2's resolution-aware shift: linear in image tokens between these two points.
BASE_TOKENS, BASE_MU = 256, 0.5
MAX_TOKENS, MAX_MU = 6400, 1.15
# The distilled model's shift is fixed.
TURBO_MU = 1.15
# A VAE latent is an eighth of the picture's side, a token two by two latents.
LATENT_SCALE = 8
PATCH = 2

# Rows and columns of image tokens.
Grid = tuple[int, int]
Velocity = Callable[[Tensor, Tensor], Tensor]


def shift_of(tokens: int) -> float:
    """Mu for a picture of `tokens` image tokens (256 at 256 px)."""
    slope = (MAX_MU - BASE_MU) / (MAX_TOKENS - BASE_TOKENS)
    return BASE_MU + slope * (tokens - BASE_TOKENS)


def shifted(t: Tensor, mu: float) -> Tensor:
    """Move times in (0, 1] towards noise by e^mu, as the scheduler's exponential shift does."""
    return math.exp(mu) / (math.exp(mu) + (1 / t - 1))


def sample_times(count: int, mu: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """(count,) training times: a standard logit-normal, shifted by mu.

    Stratified over the batch (one draw in each of `count` equal slices of the normal), which
    lowers the variance of the loss without changing the distribution.
    """
    slots = torch.arange(count, device=device)
    jitter = torch.rand(count, generator=generator, device=device)
    quantiles = ((slots + jitter) / count).clamp(1e-4, 1 - 1e-4)
    normal = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)
    return shifted(torch.sigmoid(normal), mu)


def sigmas(steps: int, mu: float) -> list[float]:
    """The `steps` + 1 noise levels of a sampling run, from 1 down to 0."""
    grid = torch.linspace(1.0, 1 / steps, steps, dtype=torch.float64)
    return [*shifted(grid, mu).tolist(), 0.0]


def add_noise(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t for tokens (B, N, C) and times (B,)."""
    t = t[:, None, None].to(x0.dtype)
    return (1 - t) * x0 + t * noise


def grid_of(width: int, height: int) -> Grid:
    """Rows and columns of image tokens of a picture."""
    side = LATENT_SCALE * PATCH
    return height // side, width // side


def pack(latents: Tensor) -> Tensor:
    """(B, C, H, W) latents to (B, H W / 4, 4 C) tokens, channels in the order (c, row, column)."""
    b, c, h, w = latents.shape
    patches = latents.reshape(b, c, h // PATCH, PATCH, w // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // PATCH) * (w // PATCH), c * PATCH**2)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """(B, rows * columns, 4 C) tokens back to (B, C, 2 rows, 2 columns) latents."""
    b, _, c = tokens.shape
    patches = tokens.reshape(b, rows, columns, c // PATCH**2, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(
        b, c // PATCH**2, rows * PATCH, columns * PATCH
    )


def positions(text_tokens: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """(text + image tokens, 3) rotary positions: text at 0, image tokens at (0, row, column)."""
    image = torch.zeros(rows, columns, 3, device=device)
    image[..., 1] = torch.arange(rows, device=device)[:, None]
    image[..., 2] = torch.arange(columns, device=device)[None, :]
    text = torch.zeros(text_tokens, 3, device=device)
    return torch.cat([text, image.reshape(rows * columns, 3)])


def guided(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """Krea's guidance: 0 is off, and `guidance` is the usual scale less one."""
    return conditional + guidance * (conditional - unconditional)


def padded(states: Tensor, mask: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Text states (B, L, 12, D) and mask (B, L) lengthened to `length` by tokens nobody attends to.

    Shapes differ a little in image tokens; padding the text by the difference keeps the whole
    sequence equally long, so that one compiled graph of the blocks serves them all.
    """
    more = length - mask.shape[1]
    return functional.pad(states, (0, 0, 0, 0, 0, more)), functional.pad(mask, (0, more))


@torch.no_grad()
def sample(velocity: Velocity, noise: Tensor, levels: list[float]) -> Tensor:
    """Euler's method along `levels`, from noise (B, N, C) to clean tokens."""
    x = noise
    for level, following in pairwise(levels):
        t = torch.full((x.shape[0],), level, device=x.device)
        x = x + (following - level) * velocity(x, t).float()
    return x
