"""Random weights of Krea 2's full size, made on the device in seconds and never written to disk.

Speed and memory do not depend on what the weights say. A tensor is drawn from its name, so stock
diffusers, our engine and every process of a group get the same model. Text is cut into tokens by
the pocket model's tokenizer, which uses Krea 2's template.
"""

import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Krea2Pipeline,
    Krea2Transformer2DModel,
)
from safetensors.torch import save_file
from torch import nn
from transformers import AutoTokenizer, Qwen3VLConfig, Qwen3VLModel

from inference.engine.profile import Weights
from inference.engine.text import TrimmedPipeline
from inference.engine.transformer.build import Read
from inference.engine.vae2d import PictureVae

# Krea2Transformer2DModel's defaults are Krea 2; so are AutoencoderKLQwenImage's.
TRANSFORMER: dict[str, Any] = {
    "in_channels": 64,
    "num_layers": 28,
    "attention_head_dim": 128,
    "num_attention_heads": 48,
    "num_key_value_heads": 12,
    "intermediate_size": 16384,
    "timestep_embed_dim": 256,
    "text_hidden_dim": 2560,
    "num_text_layers": 12,
    "text_num_attention_heads": 20,
    "text_num_key_value_heads": 20,
    "text_intermediate_size": 6912,
    "num_layerwise_text_blocks": 2,
    "num_refiner_text_blocks": 2,
    "axes_dims_rope": (32, 48, 48),
    "rope_theta": 1000.0,
    "norm_eps": 1e-5,
}
# Qwen3-VL-4B's language half.
TEXT: dict[str, Any] = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5_000_000,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
    },
}
VISION: dict[str, Any] = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 1,
    "patch_size": 4, "out_hidden_size": 2560, "deepstack_visual_indexes": [0],
    "num_position_embeddings": 4}  # fmt: skip
TABLE_STD = 0.02


def reader(config: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> Read:
    """Random tensors for the names of a Krea2Transformer2DModel of `config`."""
    with torch.device("meta"):
        shapes = {
            name: tensor.shape
            for name, tensor in Krea2Transformer2DModel(**config).state_dict().items()
        }

    def read(name: str) -> torch.Tensor:
        return _drawn(name, shapes[name], device, dtype)

    return read


def stock_transformer(
    config: Mapping[str, Any], read: Read, dtype: torch.dtype
) -> Krea2Transformer2DModel:
    """Diffusers' model with the tensors of `read`, its norms in float32 as a checkpoint's are."""
    with torch.device("meta"):
        model = Krea2Transformer2DModel(**config)
    state = {
        name: read(name).to(torch.float32 if "norm" in name else dtype)
        for name in model.state_dict()
    }
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval()


def pipeline(tokenizer_and_scheduler: Path, device: torch.device) -> TrimmedPipeline:
    """Everything but a transformer, as `load_pipeline` gives it, with random weights."""
    with device:
        vae = PictureVae().to(torch.bfloat16)
    vae.requires_grad_(False)
    vae.flatten()
    text_encoder = _text_encoder(device)
    text_encoder.visual = None
    return TrimmedPipeline(
        scheduler=_scheduler(tokenizer_and_scheduler),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=AutoTokenizer.from_pretrained(tokenizer_and_scheduler / "tokenizer"),
        transformer=None,
        is_distilled=True,
    )


def weights() -> Weights:
    """How many numbers the parts have."""
    with torch.device("meta"):
        transformer = Krea2Transformer2DModel(**TRANSFORMER)
        vae = AutoencoderKLQwenImage()
    text_encoder = _text_encoder(torch.device("meta"))
    blocks = _count(transformer.transformer_blocks)
    return Weights(
        blocks=blocks,
        block_count=TRANSFORMER["num_layers"],
        rest=_count(transformer) - blocks,
        text_encoder=_count(text_encoder.language_model),
        vae=_count(vae),
    )


def write(folder: Path, pocket: Path) -> None:
    """Write a whole checkpoint (34 GB) as the hub has it; what has no weights is `pocket`'s.

    Made on the card: there must be one.
    """
    device, dtype = torch.device("cuda"), torch.bfloat16
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("scheduler", "tokenizer"):
        shutil.copytree(pocket / part, folder / part, dirs_exist_ok=True)
    shutil.copy(pocket / "model_index.json", folder)
    with torch.device("meta"):
        shell = Krea2Transformer2DModel(**TRANSFORMER)
    shell.save_config(folder / "transformer")
    files: dict[str, list[str]] = {}
    for name in shell.state_dict():
        files.setdefault(
            ".".join(name.split(".")[:2]) if name.startswith("tr") else "rest", []
        ).append(name)
    read = reader(TRANSFORMER, device, dtype)
    for file, names in files.items():
        tensors = {n: read(n).to(torch.float32 if "norm" in n else dtype).cpu() for n in names}
        save_file(tensors, folder / "transformer" / f"{file}.safetensors")
    _text_encoder(device).save_pretrained(folder / "text_encoder")
    with device:
        AutoencoderKLQwenImage().to(dtype).save_pretrained(folder / "vae")


def stock_pipeline(parts: TrimmedPipeline, transformer: Krea2Transformer2DModel) -> Krea2Pipeline:
    """Diffusers' own pipeline and VAE, with the text encoder of `parts`."""
    with transformer.device:
        vae = AutoencoderKLQwenImage().to(torch.bfloat16).requires_grad_(False)
    stock = Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_config(parts.scheduler.config),
        vae=vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        transformer=transformer,
        is_distilled=True,
    )
    stock.set_progress_bar_config(disable=True)
    return stock


def _text_encoder(device: torch.device) -> Qwen3VLModel:
    config = Qwen3VLConfig(text_config=TEXT, vision_config=VISION)
    config.dtype = "bfloat16"
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with device:
        encoder = Qwen3VLModel._from_config(config)  # noqa: SLF001 - initialises without a checkpoint
    torch.set_default_dtype(default)
    return encoder.requires_grad_(False).eval()


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _scheduler(folder: Path) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")


def _drawn(name: str, shape: torch.Size, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    if device.type == "meta":  # only shapes are asked for
        return torch.empty(shape, device=device, dtype=dtype)
    generator = torch.Generator(device).manual_seed(zlib.crc32(name.encode()))
    drawn = torch.empty(shape, device=device, dtype=dtype)
    is_matrix = len(shape) > 1 and "table" not in name
    std = shape[-1] ** -0.5 if is_matrix else TABLE_STD
    return nn.init.normal_(drawn, 0.0, std, generator=generator)
