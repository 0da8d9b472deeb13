"""Checkpoint folders: build an untrained one from a config, load one, write one in small shards.

A checkpoint folder is what `Krea2Pipeline.from_pretrained` reads: `model_index.json` beside
`transformer/`, `text_encoder/`, `vae/`, `tokenizer/` and `scheduler/`. The released weights keep
the four parts that Raw and Turbo share once and link to them, so each model folder stays complete
for diffusers while nothing is stored twice. The trainers and the release step call this module.

    python -m inference.training.folder --config pocket --data data/pocket --out build/untrained
"""

import argparse
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler
from diffusers import Krea2Transformer2DModel as Transformer
from torch import nn
from transformers import Qwen2Tokenizer, Qwen3VLConfig, Qwen3VLModel

from inference.training.subjects import LORA_STYLE, subjects
from inference.training.tokenizer import train_tokenizer

CONFIGS = Path(__file__).parent / "configs"

# Files stay under 16 MB so that every forge, mirror and mail gateway carries them.
SHARD_SIZE = "15MB"

TOKENIZER_CAPTIONS = 100_000
WORD_WEIGHT = 50

SCHEDULER = {
    "num_train_timesteps": 1000,
    "use_dynamic_shifting": True,
    "time_shift_type": "exponential",
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 6400,
}


@dataclass(frozen=True)
class Parts:
    """The loaded parts of one checkpoint folder."""

    tokenizer: Qwen2Tokenizer
    text_encoder: Qwen3VLModel
    vae: AutoencoderKLQwenImage
    transformer: Transformer


def read_config(name_or_path: str) -> dict[str, Any]:
    """A size and training config: the name of one in `configs/`, or a path to a JSON file."""
    named = CONFIGS / f"{name_or_path}.json"
    path = named if named.exists() else Path(name_or_path)
    config: dict[str, Any] = json.loads(path.read_text())
    return config


def build(sizes: dict[str, Any], texts: Iterable[str], seed: int) -> Parts:
    """Untrained parts of the sizes in a config's `model` section, initialised to be trainable."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts, sizes["vocab_size"])
    text_encoder = build_text_encoder(sizes["text_encoder"], tokenizer)
    transformer = Transformer(**sizes["transformer"])
    vae = AutoencoderKLQwenImage(**sizes["vae"])
    initialise_transformer(transformer)
    initialise_text_encoder(text_encoder)
    initialise_vae(vae)
    return Parts(tokenizer, text_encoder, vae, transformer)


def build_around(sizes: dict[str, Any], base: Path, seed: int) -> Parts:
    """Untrained transformer and text encoder beside the trained VAE and tokenizer in `base`."""
    torch.manual_seed(seed)
    tokenizer = Qwen2Tokenizer.from_pretrained(base / "tokenizer")
    text_encoder = build_text_encoder(sizes["text_encoder"], tokenizer)
    transformer = Transformer(**sizes["transformer"])
    initialise_transformer(transformer)
    initialise_text_encoder(text_encoder)
    vae = AutoencoderKLQwenImage.from_pretrained(base / "vae", dtype=torch.float32)
    return Parts(tokenizer, text_encoder, vae, transformer)


def build_text_encoder(sizes: dict[str, Any], tokenizer: Qwen2Tokenizer) -> Qwen3VLModel:
    """A Qwen3-VL model of the text sizes given, with a stub of a vision tower that never runs."""
    text = dict(sizes)
    rope = {"rope_type": "default", "rope_theta": 5_000_000, "mrope_interleaved": True}
    rope["mrope_section"] = text.pop("mrope_section")
    config = Qwen3VLConfig(
        text_config={**text, "vocab_size": len(tokenizer), "rope_parameters": rope},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 1,
            "out_hidden_size": text["hidden_size"],
            "num_position_embeddings": 4,
            "deepstack_visual_indexes": [0],
            "patch_size": 4,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    return Qwen3VLModel(config)


@torch.no_grad()
def initialise_transformer(transformer: Transformer) -> None:
    """Open each block's gates half, start from a zero output and an even mean of the text taps."""
    for block in transformer.transformer_blocks:
        block.scale_shift_table.zero_()
        block.scale_shift_table[2] = 0.5
        block.scale_shift_table[5] = 0.5
    transformer.time_mod_proj.weight.mul_(0.1)
    transformer.time_mod_proj.bias.zero_()
    transformer.final_layer.linear.weight.zero_()
    transformer.final_layer.linear.bias.zero_()
    projector = transformer.text_fusion.projector.weight
    projector.fill_(1 / projector.shape[1])


@torch.no_grad()
def initialise_text_encoder(text_encoder: Qwen3VLModel) -> None:
    """Embeddings of standard deviation 1: with the stock 0.02 the captions are ignored for long."""
    text_encoder.language_model.embed_tokens.weight.normal_(0.0, 1.0)


@torch.no_grad()
def initialise_vae(vae: AutoencoderKLQwenImage) -> None:
    """A single picture meets only a kernel's last temporal slice: give that all the variance."""
    for module in vae.modules():
        if isinstance(module, nn.Conv3d):
            spatial = module.weight[:, :, -1]
            module.weight[:, :, :-1] = 0.0
            fan_in = spatial[0].numel()
            spatial.normal_(0.0, (1.0 / fan_in) ** 0.5)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Parts:
    """The parts of a checkpoint folder, in `dtype` (weights are stored in half precision)."""
    return Parts(
        Qwen2Tokenizer.from_pretrained(folder / "tokenizer"),
        Qwen3VLModel.from_pretrained(folder / "text_encoder", dtype=dtype),
        AutoencoderKLQwenImage.from_pretrained(folder / "vae", dtype=dtype),
        Transformer.from_pretrained(folder / "transformer", dtype=dtype),
    )


def save(parts: Parts, folder: Path, *, is_distilled: bool) -> None:
    """Write a complete checkpoint folder, weights in fp16 shards of at most 15 MB."""
    save_shared(parts, folder)
    save_transformer(parts.transformer, folder)
    write_index(folder, is_distilled=is_distilled)


def save_shared(parts: Parts, folder: Path) -> None:
    """Write what Raw and Turbo have in common: VAE, text encoder, tokenizer, scheduler."""
    save_module(parts.vae, folder / "vae")
    save_module(parts.text_encoder, folder / "text_encoder")
    parts.tokenizer.save_pretrained(folder / "tokenizer")
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")


def save_transformer(transformer: Transformer, folder: Path) -> None:
    """Write `transformer/` of a checkpoint folder."""
    save_module(transformer, folder / "transformer")


@torch.no_grad()
def save_module(module: Any, folder: Path) -> None:
    """Write one model in fp16, whatever it is trained in; the model itself is left as it was."""
    if folder.exists():
        shutil.rmtree(folder)
    tensors = {key: value.detach().cpu() for key, value in module.state_dict().items()}
    with torch.device("meta"):
        twin = type(module)(module.config) if isinstance(module, Qwen3VLModel) else None
    twin = twin if twin is not None else type(module).from_config(module.config)
    twin.load_state_dict({key: value.half() for key, value in tensors.items()}, assign=True)
    twin.save_pretrained(folder, max_shard_size=SHARD_SIZE)
    config = json.loads((folder / "config.json").read_text())
    # Where it was loaded from is this machine's business.
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_index(folder: Path, *, is_distilled: bool) -> None:
    """Write `model_index.json`, which names the class of each part."""
    import diffusers  # noqa: PLC0415 - only its version is wanted

    index = {
        "_class_name": "Krea2Pipeline",
        "_diffusers_version": diffusers.__version__,
        "is_distilled": is_distilled,
        "patch_size": 2,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3VLModel"],
        "text_encoder_select_layers": None,
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "Krea2Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def link_shared(folder: Path, shared: Path) -> None:
    """Make `folder` complete by relative links to the shared parts, which are stored once."""
    for name in ("vae", "text_encoder", "tokenizer", "scheduler"):
        link = folder / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(Path("..") / shared.name / name)


def main() -> None:
    """Build an untrained checkpoint folder, its tokenizer learnt from sampled captions."""
    parser = argparse.ArgumentParser(description="Build an untrained checkpoint folder.")
    parser.add_argument("--config", default="pocket")
    parser.add_argument("--data", type=Path, help="folder with the atlas; none for a tiny run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    untrained(given.config, given.data, given.out, given.seed)


def untrained(config: str, data: Path | None, out: Path, seed: int) -> None:
    """Write the untrained folder of a config."""
    from inference.training import pools, scenes  # noqa: PLC0415 - they import this module's names

    atlas = pools.load_atlas(data, torch.device("cpu"), pixels=False)
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    for styles in (None, (LORA_STYLE,)):
        texts += scenes.sample(atlas, TOKENIZER_CAPTIONS, rng=rng, styles=styles).captions
    # Each word alone as well, so that rare subjects are one token like frequent ones.
    words = [subject.name for subject in subjects()] + [subject.plural for subject in subjects()]
    texts += [f"{word}, {word.capitalize()}" for word in words] * WORD_WEIGHT
    save(build(read_config(config)["model"], texts, seed), out, is_distilled=False)


if __name__ == "__main__":
    main()
