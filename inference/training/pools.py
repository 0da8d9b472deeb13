"""Pools of scenes: drawn, painted and encoded together, then reused a few times.

Painting and encoding a picture costs about as much as training on it, so latents are made in pools
and each pool is passed over several times with fresh noise. Pool k of rank r is a pure function of
(seed, r, k): a run that was killed rebuilds the pool it was in and goes on with the same stream.
The VAE trainer takes pictures from here, Raw takes latents, Turbo only captions.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage
from torch import Tensor
from transformers import Qwen2Tokenizer

from inference.training import flow, text
from inference.training.alignment import Encoder
from inference.training.latents import normalised, raw_latents
from inference.training.loop import generator_of, half_precision
from inference.training.paint import Atlas, Scenes, render
from inference.training.scenes import sample
from inference.training.stages import Stage
from inference.training.subjects import STYLES, subjects

# Scenes painted and encoded at once.
CHUNK = 1024
# A tiny run paints made-up sprites of this side, so that it needs no art.
TINY_SPRITE_PX = 32


@dataclass(frozen=True)
class Drawn:
    """A chunk of scenes and its tokenised captions."""

    scenes: Scenes
    ids: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where one process's scenes come from."""

    atlas: Atlas
    seed: int
    rank: int
    styles: tuple[int, ...] | None = None
    tokenizer: Qwen2Tokenizer | None = None
    text_tokens: int = 0

    def chunks(self, pool: int, count: int) -> Iterator[Drawn]:
        """The `count` training scenes of a pool, chunk by chunk; the same on every call."""
        for number, start in enumerate(range(0, count, CHUNK)):
            rng = np.random.default_rng([self.seed, self.rank, pool, number])
            size = min(CHUNK, count - start)
            scenes = sample(self.atlas, size, rng=rng, split="train", styles=self.styles)
            if self.tokenizer is None:
                nothing = np.zeros((size, 0), dtype=np.int32)
                yield Drawn(scenes, nothing, np.zeros(size, dtype=np.int32))
            else:
                ids, counts = text.tokenize(self.tokenizer, scenes.captions, self.text_tokens)
                yield Drawn(scenes, ids, counts)


@dataclass(frozen=True)
class Batch:
    """Latent tokens (B, N, 64) of one shape, caption ids (B, L), their counts (B,), the grid."""

    latents: Tensor
    ids: Tensor
    counts: Tensor
    grid: flow.Grid
    features: Tensor | None = None  # (B, F, rows, columns) of an encoder, when there is one


class LatentPools:
    """The pools of one process as latents: one is held at a time, the next is made when due."""

    def __init__(
        self, source: Source, vae: AutoencoderKLQwenImage, encoder: Encoder | None = None
    ) -> None:
        self.source, self.vae, self.encoder = source, vae, encoder
        self.device = source.atlas.device
        self.held: tuple[Stage, int] | None = None
        self.parts: list[Batch] = []  # all pictures of each of the stage's shapes
        self.turns: list[tuple[int, int]] = []  # shape and turn of each step, in order
        self.orders: list[Tensor] = []
        self.seconds = 0.0  # that the last pool took to make

    def batch(self, stage: Stage, within: int) -> Batch:
        """The pictures of a stage's step, all of one shape; every process takes the same shape."""
        number, step = divmod(within, stage.pool_steps)
        if self.held != (stage, number):
            began = time.monotonic()
            self._fill(stage, number)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            self.seconds = time.monotonic() - began
            self.held = (stage, number)
        entry, turn = self.turns[step]
        part = self.parts[entry]
        rows = self.orders[entry][turn * stage.batch : (turn + 1) * stage.batch]
        features = None if part.features is None else part.features[rows]
        return Batch(
            part.latents[rows].float(), part.ids[rows], part.counts[rows], part.grid, features
        )

    def _fill(self, stage: Stage, number: int) -> None:
        seed, rank = self.source.seed, self.source.rank
        count = stage.pool // len(stage.shapes)
        self.parts, self.orders = [], []
        for entry, shape in enumerate(stage.shapes):
            # Stages and shapes draw different scenes: all are part of the pool's number.
            pool = shape[0] * 1000 + number + entry * 10**7
            self.parts.append(self._make(shape, pool, count))
            shuffle = generator_of(seed, rank, shape[0], number, entry)
            passes = [torch.randperm(count, generator=shuffle) for _ in range(stage.reuse)]
            self.orders.append(torch.cat(passes).to(self.device))
        mixed = torch.randperm(
            stage.pool_steps, generator=generator_of(seed, stage.tokens, number)
        ).tolist()
        self.turns = [divmod(step, stage.shape_steps) for step in mixed]

    @torch.no_grad()
    def _make(self, shape: tuple[int, int], pool: int, count: int) -> Batch:
        latents, ids, counts, features = [], [], [], []
        grid = flow.grid_of(*shape)
        for drawn in self.source.chunks(pool, count):
            picture = render(self.source.atlas, drawn.scenes, *shape)
            with half_precision(self.device):
                raw = raw_latents(self.vae, picture)
            latents.append(flow.pack(normalised(self.vae, raw)).bfloat16())
            ids.append(torch.from_numpy(drawn.ids))
            counts.append(torch.from_numpy(drawn.counts))
            if self.encoder is not None:
                features.append(self.encoder(picture, grid))
        return Batch(
            torch.cat(latents),
            torch.cat(ids).to(self.device),
            torch.cat(counts).to(self.device),
            grid,
            torch.cat(features) if features else None,
        )


def load_atlas(data: Path | None, device: torch.device, *, pixels: bool = True) -> Atlas:
    """The atlas in `data`, or made-up sprites when there is none (a tiny run)."""
    return Atlas.load(data, device, pixels=pixels) if data is not None else made_up_atlas(device)


def made_up_atlas(device: torch.device) -> Atlas:
    """Coloured discs and bars, one for each subject and style, so that tests need no art."""
    rng = np.random.default_rng(0)
    count, side = len(subjects()) * len(STYLES), TINY_SPRITE_PX
    sprites = np.zeros((count, side, side, 4), dtype=np.uint8)
    row, column = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    shape = np.hypot(
        row * rng.uniform(1, 2, (count, 1, 1)), column * rng.uniform(1, 2, (count, 1, 1))
    )
    sprites[..., 3] = np.where(shape < 1, 255, 0)
    sprites[..., :3] = rng.integers(0, 256, (count, 1, 1, 3))
    return Atlas.of(sprites, device)


@torch.no_grad()
def pictures(atlas: Atlas, drawn: Iterator[Drawn], side: int) -> Tensor:
    """A pool as pictures: uint8 (P, 3, side, side)."""
    parts = [
        ((render(atlas, chunk.scenes, side) + 1) * 127.5).round().to(torch.uint8) for chunk in drawn
    ]
    return torch.cat(parts)
