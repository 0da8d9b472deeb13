"""From a checkpoint folder to what draws: text encoder and VAE in diffusers' pipeline, transformer.

Any folder that `Krea2Pipeline.from_pretrained` reads is loaded the same way, the pocket models and
Krea 2 alike. What is changed on the way computes the same function: trimmed text (`text`), the
one-frame VAE (`vae2d`), the fused transformer. The hub is never asked: a folder is all that this
module takes.
"""

import math
from importlib.metadata import version
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging

from inference.engine import ENGINE_VERSION, Build
from inference.engine.device import Device
from inference.engine.profile import Profile, Weights
from inference.engine.text import TrimmedPipeline
from inference.engine.transformer.build import build, read_config, reader_of
from inference.engine.transformer.model import Transformer
from inference.engine.vae2d import PictureVae
from inference.models import ModelUnavailable

# What a missing file, a cut-off shard, a wrong key or a bad configuration raises.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)
BLOCK = "transformer_blocks."
# The vision tower reads reference pictures, which this pipeline has none of: 0.8 GB of Krea 2.
UNUSED = "visual."


def load_pipeline(folder: Path, device: Device, profile: Profile) -> TrimmedPipeline:
    """Everything of the checkpoint but its transformer, on `device` and in its precision.

    A text encoder that only visits the card stays in main memory. Raises ModelUnavailable when the
    folder is not a whole Krea 2 checkpoint.
    """
    # Bars over shards are for a person at a terminal; a worker reports in sentences.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        vae = PictureVae.from_pretrained(
            folder, subfolder="vae", dtype=device.dtype, local_files_only=True
        )
        pipeline: TrimmedPipeline = TrimmedPipeline.from_pretrained(
            folder, vae=vae, transformer=None, dtype=device.dtype, local_files_only=True
        )
    except UNREADABLE as error:
        raise _unreadable(folder, error) from error
    vae.flatten()
    vae.to(device.kind)
    pipeline.text_encoder.visual = None
    if profile.encoder_stays:
        pipeline.text_encoder.to(device.kind)
    return pipeline


def load_transformer(folder: Path, device: Device, profile: Profile) -> Transformer:
    """The transformer of the checkpoint, fused, in the profile's precision.

    Raises ModelUnavailable when its files are missing, damaged or of another model.
    """
    part = folder / "transformer"
    try:
        return build(
            read_config(part),
            reader_of(part, _place(device)),
            device.dtype,
            profile.precision,
            resident=profile.resident_blocks,
        )
    except UNREADABLE as error:
        raise _unreadable(folder, error) from error


def measure(folder: Path) -> Weights:
    """How large the parts of a checkpoint are, from the headers of its files.

    Raises ModelUnavailable when they cannot be read.
    """
    try:
        transformer = _numbers(folder / "transformer")
        text_encoder = _numbers(folder / "text_encoder")
        vae = _numbers(folder / "vae")
    except UNREADABLE as error:
        raise _unreadable(folder, error) from error
    blocks = {name: count for name, count in transformer.items() if name.startswith(BLOCK)}
    return Weights(
        blocks=sum(blocks.values()),
        block_count=len({name.split(".")[1] for name in blocks}),
        rest=sum(transformer.values()) - sum(blocks.values()),
        text_encoder=sum(count for name, count in text_encoder.items() if UNUSED not in name),
        vae=sum(vae.values()),
    )


def build_of(device: Device, profile: Profile, processes: int = 1) -> Build:
    """The versions and the precision that a picture's file records."""
    dtype = str(device.dtype).removeprefix("torch.")
    return Build(
        engine=ENGINE_VERSION,
        torch=torch.__version__,
        diffusers=version("diffusers"),
        dtype=dtype if profile.precision == "plain" else f"{profile.precision} in {dtype}",
        device=device.kind if processes == 1 else f"{processes} {device.kind}",
    )


def _place(device: Device) -> torch.device:
    """With the number of the GPU that this process uses: for who takes none for the first."""
    place = torch.device(device.kind)
    return torch.device("cuda", torch.cuda.current_device()) if place.type == "cuda" else place


def _numbers(folder: Path) -> dict[str, int]:
    """How many numbers each tensor in the files of `folder` has."""
    counts: dict[str, int] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a dict: it has no __iter__
                counts[name] = math.prod(opened.get_slice(name).get_shape())
    if not counts:
        raise OSError(f"{folder.name} holds no safetensors files")
    return counts


def _unreadable(folder: Path, error: BaseException) -> ModelUnavailable:
    return ModelUnavailable(
        f"The checkpoint in {folder.name} cannot be read ({type(error).__name__}): "
        "fetch its weights again."
    )
