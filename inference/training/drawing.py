"""The ways to run the pocket model that are measured, and the drawing itself.

Every picture has its own seed (SEED + its place in the list), drawn on the CPU: all rows and all
devices start from the same noise, and two rows differ by the model alone.  Stock `Krea2Pipeline`:
what is measured here is what anyone gets who loads the folder with diffusers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ConfigMixin, Krea2Pipeline, ModelMixin
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.engine.transformer.build import build, read_config, reader_of
from inference.engine.vae2d import PictureVae

Bytes = NDArray[np.uint8]
SEED = 1000
SIDE_PX = 256
# Captions have at most about 40 tokens; columns that no prompt of a batch uses are cut after that.
TEXT_TOKENS = 64
RAW_GUIDANCE = 3.5
# The other sizes that the studio offers for these models; the last two lie furthest from a square.
OTHER_SIZES = (
    (288, 224),
    (304, 208),
    (336, 192),
    (224, 288),
    (208, 304),
    (192, 336),
    (384, 160),
)
LORA_FOLDER = "pocket-lora-line"
# Peak value of float8_e4m3fn.
FP8_MAX = 448.0


@dataclass(frozen=True)
class Row:
    """One way to run the model."""

    name: str
    weights: str
    steps: int
    prompts: str = "main"  # "main": one and two subjects in Raw's styles; "line": the LoRA's style
    strength: float | None = None  # of the LoRA; None = not loaded
    change: str = ""  # "bf16", "int8", "fp8", "engine-fp8" or "fused"
    diverse: bool = False  # also measure diversity over seeds
    width: int = SIDE_PX
    height: int = SIDE_PX

    @property
    def square(self) -> bool:
        """Whether it draws what most rows draw."""
        return self.width == self.height

    @property
    def guidance(self) -> float:
        """Turbo has guidance distilled in."""
        return RAW_GUIDANCE if self.weights == "pocket-raw" else 0.0


ROWS = (
    Row("raw-52", "pocket-raw", 52),
    Row("raw-28", "pocket-raw", 28, diverse=True),
    Row("turbo-8", "pocket-turbo", 8, diverse=True),
    Row("turbo-4", "pocket-turbo", 4),
    Row("turbo-8-bf16", "pocket-turbo", 8, change="bf16"),
    Row("turbo-8-int8", "pocket-turbo", 8, change="int8"),
    Row("turbo-8-fp8", "pocket-turbo", 8, change="fp8"),
    Row("turbo-8-engine-fp8", "pocket-turbo", 8, change="engine-fp8"),
    *(
        Row(f"{name}-{width}x{height}", weights, steps, width=width, height=height)
        for name, weights, steps, sizes in (
            ("turbo-8", "pocket-turbo", 8, OTHER_SIZES),
            ("raw-28", "pocket-raw", 28, OTHER_SIZES[-2:]),
        )
        for width, height in sizes
    ),
    Row("turbo-8-lora-0", "pocket-turbo", 8, prompts="line", strength=0.0),
    Row("turbo-8-lora-0.5", "pocket-turbo", 8, prompts="line", strength=0.5),
    Row("turbo-8-lora-1", "pocket-turbo", 8, prompts="line", strength=1.0),
    Row("turbo-8-lora-1-fused", "pocket-turbo", 8, prompts="line", strength=1.0, change="fused"),
)
# Pictures of which row a variant is compared with, seed by seed.
TWINS = {
    "turbo-8-bf16": "turbo-8",
    "turbo-8-int8": "turbo-8",
    "turbo-8-fp8": "turbo-8",
    "turbo-8-engine-fp8": "turbo-8-bf16",
    "turbo-8-lora-1-fused": "turbo-8-lora-1",
}


def open_pipeline(row: Row, model: Path, device: torch.device) -> Any:
    """Load the row's checkpoint folder and change it as the row says."""
    dtype = torch.bfloat16 if row.change in {"bf16", "engine-fp8"} else torch.float32
    pipe = Krea2Pipeline.from_pretrained(model / row.weights, dtype=dtype)
    if device.type == "cpu":
        # The same function of a single picture, three times as fast here.
        pipe.vae = PictureVae.from_pretrained(model / row.weights / "vae", dtype=dtype)
        pipe.vae.flatten()
    if row.strength is not None:
        pipe.load_lora_weights(model / LORA_FOLDER, adapter_name="style")
        pipe.set_adapters("style", row.strength)
    if row.change == "fused":
        pipe.fuse_lora(lora_scale=row.strength)
        pipe.unload_lora_weights()
    if row.change in {"int8", "fp8"}:
        round_weights(pipe.transformer, row.change)
    if row.change == "engine-fp8":
        pipe.transformer = EngineTransformer(model / row.weights / "transformer", device)
    pipe.set_progress_bar_config(disable=True)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return pipe.to(device)


class EngineTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc] # diffusers is untyped
    """The serving engine's 8-bit transformer in the pipeline's place: products and attention."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__()
        config, read = read_config(folder), reader_of(folder, device)
        self.register_to_config(**config)
        self.ours = build(config, read, torch.bfloat16, "float8")

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        timestep: Tensor,
        position_ids: Tensor,
        encoder_attention_mask: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor]:
        """Velocities (B, N, channels), one picture after the other, as the engine draws them."""
        tokens = hidden_states.shape[1]
        rows = int(position_ids[-tokens:, 1].max()) + 1
        velocities = []
        for index, latents in enumerate(hidden_states):
            states = encoder_hidden_states[index]
            if encoder_attention_mask is not None:
                states = states[encoder_attention_mask[index].bool()]
            prepared = self.ours.prepare(states[None], (rows, tokens // rows))
            times = self.ours.times(timestep[index : index + 1])
            velocities.append(self.ours.step(latents[None], prepared, times, 0))
        return (torch.cat(velocities),)


@torch.no_grad()
def round_weights(model: nn.Module, kind: str) -> None:
    """Round every Linear's weight to int8 or float8 e4m3 with one scale an output row.

    The rounded values are kept in the model's own type: the same function as a kernel that reads
    eight-bit weights, without its speed.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            weight = layer.weight.float()
            peak = weight.abs().amax(1, keepdim=True).clamp_min(1e-12)
            if kind == "int8":
                rounded = (weight / peak * 127).round() / 127 * peak
            else:
                rounded = (weight / peak * FP8_MAX).to(torch.float8_e4m3fn).float() / FP8_MAX * peak
            layer.weight.copy_(rounded)


@torch.inference_mode()
def draw(pipe: Any, row: Row, captions: Sequence[str], *, batch: int, seeds: int = 1) -> Bytes:
    """Pictures (captions * seeds, height, width, 3), the seeds of a caption side by side."""
    jobs = [(text, SEED + at * seeds + k) for at, text in enumerate(captions) for k in range(seeds)]
    parts = []
    for at in range(0, len(jobs), batch):
        part = jobs[at : at + batch]
        embeds, mask, empty, empty_mask = _embed(pipe, [text for text, _ in part], row)
        out = pipe(
            prompt_embeds=embeds,
            prompt_embeds_mask=mask,
            negative_prompt_embeds=empty,
            negative_prompt_embeds_mask=empty_mask,
            height=row.height,
            width=row.width,
            num_inference_steps=row.steps,
            guidance_scale=row.guidance,
            generator=[torch.Generator("cpu").manual_seed(seed) for _, seed in part],
            output_type="np",
        ).images
        parts.append((out * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def _embed(
    pipe: Any, captions: list[str], row: Row
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Text states without the padding that no caption of the batch uses (exact, and cheaper)."""
    embeds, mask = pipe.encode_prompt(captions, max_sequence_length=TEXT_TOKENS)
    used = mask.any(0)
    if row.guidance == 0:
        return embeds[:, used], mask[:, used], None, None
    empty, empty_mask = pipe.encode_prompt([""], max_sequence_length=TEXT_TOKENS)
    count = len(captions)
    return (
        embeds[:, used],
        mask[:, used],
        empty[:, used].expand(count, -1, -1, -1),
        empty_mask[:, used].expand(count, -1),
    )
