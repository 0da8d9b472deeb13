"""One LoRA as the trainers of this world would write it: every layout from the same numbers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from inference.adapters.names import krea_name

ROOT = Path(__file__).parents[3]
LINE = ROOT / "weights" / "pocket-lora-line" / "pytorch_lora_weights.safetensors"

Update = dict[str, tuple[Tensor, Tensor]]  # by layer: down (rank, in), up (out, rank)


@dataclass(frozen=True)
class Written:
    """What a file holds."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def line_update() -> Update:
    """The LoRA that ships, whose alpha is its rank, in float32."""
    tensors = {name: tensor.float() for name, tensor in load_file(LINE).items()}
    layers = {name.split(".lora_")[0] for name in tensors}
    return {
        layer.removeprefix("transformer."): (
            tensors[f"{layer}.lora_A.weight"],
            tensors[f"{layer}.lora_B.weight"],
        )
        for layer in layers
    }


def peft(update: Update, prefix: str = "transformer.") -> Written:
    named = {f"{prefix}{layer}.": halves for layer, halves in update.items()}
    return Written(_pairs(named, "lora_A.weight", "lora_B.weight"))


def peft_with_alpha(update: Update) -> Written:
    """Alpha, twice the rank, in the metadata as diffusers writes it; the upper half is half."""
    rank = len(next(iter(update.values()))[0])
    settings = {"transformer.r": rank, "transformer.lora_alpha": 2 * rank}
    halved = {layer: (down, up / 2) for layer, (down, up) in update.items()}
    return Written(peft(halved).tensors, {"lora_adapter_metadata": json.dumps(settings)})


def official(update: Update, prefix: str = "diffusion_model.") -> Written:
    return peft({krea_name(layer): halves for layer, halves in update.items()}, prefix)


def comfyui(update: Update) -> Written:
    named = {f"diffusion_model.{krea_name(layer)}.": two for layer, two in update.items()}
    return Written(_with_alphas(named, "lora_down.weight", "lora_up.weight"))


def kohya(update: Update, name: Callable[[str], str] = krea_name) -> Written:
    named = {f"lora_unet_{name(layer).replace('.', '_')}.": two for layer, two in update.items()}
    return Written(_with_alphas(named, "lora_down.weight", "lora_up.weight"))


def lokr(update: Update) -> Written:
    """A Kronecker product with the matrix (1): that of the two halves is the second factor."""
    tensors: dict[str, Tensor] = {}
    for layer, (down, up) in update.items():
        name = f"diffusion_model.{krea_name(layer)}"
        tensors |= {
            f"{name}.lokr_w1": torch.ones(1, 1),
            f"{name}.lokr_w2_a": up.clone(),
            f"{name}.lokr_w2_b": down.clone() * 4,
            f"{name}.alpha": torch.tensor(len(down) / 4),
        }
    return Written(tensors)


LAYOUTS: Mapping[str, Callable[[Update], Written]] = {
    "peft": peft,
    "peft, alpha in its metadata": peft_with_alpha,
    "peft, base_model.model.": lambda update: peft(update, "base_model.model."),
    "peft, bare": lambda update: peft(update, ""),
    "official, diffusion_model.": official,
    "official, base_model.model.": lambda update: official(update, "base_model.model."),
    "official, bare": lambda update: official(update, ""),
    "comfyui, down and up, alpha": comfyui,
    "kohya, official names, alpha": kohya,
    "kohya, diffusers' names, alpha": lambda update: kohya(update, str),
    "lokr": lokr,
}


def _pairs(
    named: Mapping[str, tuple[Tensor, Tensor]], down_word: str, up_word: str
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in named.items():
        tensors |= {f"{name}{down_word}": down, f"{name}{up_word}": up}
    return tensors


def _with_alphas(
    named: Mapping[str, tuple[Tensor, Tensor]], down_word: str, up_word: str
) -> dict[str, Tensor]:
    """Alpha is a quarter of the rank, and the upper half four times as large."""
    larger = {name: (down, up * 4) for name, (down, up) in named.items()}
    alphas = {f"{name}alpha": torch.tensor(len(down) / 4) for name, (down, _) in named.items()}
    return _pairs(larger, down_word, up_word) | alphas
