"""Captioned pictures as a LoRA run sees them: latents and text states, computed once.

One encoder is in memory at a time, so that a base of any size leaves room for its transformer.
`lora` is the caller.
"""

import gc
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLQwenImage
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, Qwen3VLModel

from inference.training import flow, text
from inference.training.latents import make_planar, normalised, raw_latents
from inference.training.picture_folder import Captioned


@dataclass(frozen=True)
class Example:
    """One cached picture: latent tokens (N, C), their grid, text states (L, 12, D)."""

    tokens: Tensor
    grid: flow.Grid
    states: Tensor


@torch.no_grad()
def cache(
    base: Path,
    pictures: list[Captioned],
    text_tokens: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[list[Example], Tensor]:
    """All pictures encoded, and the text states of the empty caption, in `dtype`."""
    tokenizer = AutoTokenizer.from_pretrained(base / "tokenizer")
    encoder = Qwen3VLModel.from_pretrained(base / "text_encoder", dtype=dtype)
    encoder.visual = None
    reader = text.TextStates(encoder, tokenizer).to(device)
    states = []
    for caption in [*(picture.caption for picture in pictures), ""]:
        ids, counts = text.tokenize(tokenizer, [caption], text_tokens)
        ids = ids[:, : counts[0]]
        state, _ = reader(torch.from_numpy(ids).to(device), torch.from_numpy(counts).to(device))
        states.append(state[0])
    del encoder, reader
    gc.collect()
    vae = AutoencoderKLQwenImage.from_pretrained(base / "vae", dtype=torch.float32)
    vae.to(device)
    make_planar(vae)
    examples = []
    for picture, state in zip(pictures, states[:-1], strict=True):
        latents = normalised(vae, raw_latents(vae, picture.pixels[None].to(device)))
        rows, columns = (side // flow.PATCH for side in latents.shape[-2:])
        examples.append(Example(flow.pack(latents)[0], (rows, columns), state))
    return examples, states[-1]


def split(
    examples: list[Example], held_out_share: float
) -> tuple[list[list[Example]], list[Example]]:
    """Buckets of equal grid to train on, and every n-th picture kept apart."""
    every = round(1 / held_out_share) if held_out_share > 0 else math.inf
    buckets: dict[flow.Grid, list[Example]] = defaultdict(list)
    held_out = []
    for number, example in enumerate(examples, start=1):
        if number % every == 0:
            held_out.append(example)
        else:
            buckets[example.grid].append(example)
    return list(buckets.values()), held_out


def pad(states: list[Tensor], length: int | None = None) -> tuple[Tensor, Tensor | None]:
    """Stack text states of different lengths, padded to the longest or to `length`.

    The mask is None when nothing is padded.
    """
    longest = length or max(len(state) for state in states)
    padded = [functional.pad(state, (0, 0, 0, 0, 0, longest - len(state))) for state in states]
    if all(len(state) == longest for state in states):
        return torch.stack(padded), None
    lengths = torch.tensor([len(state) for state in states], device=states[0].device)
    mask = torch.arange(longest, device=states[0].device)[None, :] < lengths[:, None]
    return torch.stack(padded), mask
