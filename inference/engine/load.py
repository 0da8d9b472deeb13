"""From a checkpoint folder to a pipeline that is ready to draw.

Any folder that `Krea2Pipeline.from_pretrained` reads is loaded the same way, the pocket models and
Krea 2 alike. What is changed on the way computes the same function: trimmed text (`text`) and the
one-frame VAE (`vae2d`). The hub is never asked: a folder is all that this module takes.
"""

from importlib.metadata import version
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from inference.engine import ENGINE_VERSION, Build
from inference.engine.device import Device
from inference.engine.text import TrimmedPipeline, fit_positions
from inference.engine.vae2d import PictureVae
from inference.models import ModelUnavailable

# What from_pretrained raises for a missing file, a cut-off shard, a wrong key or a bad config.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)


def load_pipeline(folder: Path, device: Device) -> TrimmedPipeline:
    """The pipeline of the checkpoint in `folder`, on `device` and in its precision.

    Raises ModelUnavailable when the folder is not a whole Krea 2 checkpoint.
    """
    # Bars over shards are for a person at a terminal; a worker reports in sentences.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        vae = PictureVae.from_pretrained(
            folder, subfolder="vae", dtype=device.dtype, local_files_only=True
        )
        pipeline: TrimmedPipeline = TrimmedPipeline.from_pretrained(
            folder, vae=vae, dtype=device.dtype, local_files_only=True
        )
    except UNREADABLE as error:
        raise ModelUnavailable(
            f"The checkpoint in {folder.name} cannot be read ({type(error).__name__}): "
            "fetch its weights again."
        ) from error
    vae.flatten()
    pipeline.transformer.register_forward_pre_hook(fit_positions, with_kwargs=True)
    # The vision tower reads reference pictures, which this pipeline has none of: 0.8 GB of Krea 2.
    pipeline.text_encoder.visual = None
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device.kind)
    return pipeline


def build_of(device: Device) -> Build:
    """The versions and the precision that a picture's file records."""
    return Build(
        engine=ENGINE_VERSION,
        torch=torch.__version__,
        diffusers=version("diffusers"),
        dtype=str(device.dtype).removeprefix("torch."),
        device=device.kind,
    )
