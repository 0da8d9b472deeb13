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
from inference.training.latents import normalised, raw_latents
from inference.training.loop import generator_of, half_precision
from inference.training.paint import Atlas, Scenes, render
from inference.training.scenes import sample
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
class Stage:
    """A stretch of training at one picture side. Counts are per process."""

    side: int
    batch: int
    steps: int
    pool: int
    reuse: int
    share: float = 1.0  # of the time, when the run is fitted to a time

    @property
    def pool_steps(self) -> int:
        """Steps taken on one pool before the next is made."""
        return self.pool * self.reuse // self.batch

    @property
    def grid(self) -> int:
        """Image tokens along a side."""
        return self.side // flow.LATENT_SCALE // flow.PATCH


class LatentPools:
    """The pools of one process as latents: one is held at a time, the next is made when due."""

    def __init__(self, source: Source, vae: AutoencoderKLQwenImage) -> None:
        self.source, self.vae = source, vae
        self.device = source.atlas.device
        self.held: tuple[int, int] | None = None
        self.seconds = 0.0  # that the last pool took to make

    def batch(self, stage: Stage, within: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latent tokens (B, N, 64), caption ids (B, L) and counts (B,) of a stage's step."""
        number, turn = divmod(within, stage.pool_steps)
        if self.held != (stage.side, number):
            began = time.monotonic()
            self.latents, self.ids, self.counts = self._make(stage, number)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            self.seconds = time.monotonic() - began
            shuffle = generator_of(self.source.seed, self.source.rank, stage.side, number)
            turns = [torch.randperm(stage.pool, generator=shuffle) for _ in range(stage.reuse)]
            self.order = torch.cat(turns).to(self.device)
            self.held = (stage.side, number)
        rows = self.order[turn * stage.batch : (turn + 1) * stage.batch]
        return self.latents[rows].float(), self.ids[rows], self.counts[rows]

    @torch.no_grad()
    def _make(self, stage: Stage, number: int) -> tuple[Tensor, Tensor, Tensor]:
        latents, ids, counts = [], [], []
        # Stages draw different scenes: the side is part of the pool's number.
        for drawn in self.source.chunks(stage.side * 1000 + number, stage.pool):
            picture = render(self.source.atlas, drawn.scenes, stage.side)
            with half_precision(self.device):
                raw = raw_latents(self.vae, picture)
            latents.append(flow.pack(normalised(self.vae, raw)).bfloat16())
            ids.append(torch.from_numpy(drawn.ids))
            counts.append(torch.from_numpy(drawn.counts))
        return torch.cat(latents), torch.cat(ids).to(self.device), torch.cat(counts).to(self.device)


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
