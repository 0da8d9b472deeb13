"""The two ends of a picture: a prompt to the states of the text encoder, latents to pixels.

Each has a stream of its own on a GPU, beside the steps of another picture.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image

from inference.engine import Latents, RenderFailed
from inference.engine.device import free
from inference.engine.text import TrimmedPipeline
from inference.engine.visit import visiting


@torch.no_grad()
def text_states(pipeline: TrimmedPipeline, device: torch.device, prompt: str) -> torch.Tensor:
    """The tapped hidden states (1, L, taps, width) of `prompt`, computed on `device`.

    A text encoder that lives elsewhere visits the device meanwhile.
    """
    if pipeline.text_encoder.device.type == device.type:
        return pipeline.states_of(prompt, device)
    free()
    with visiting(pipeline.text_encoder, device):
        states = pipeline.states_of(prompt, device)
        torch.cuda.current_stream(device).synchronize()
    free()  # its room is the transformer's now
    return states


@torch.no_grad()
def picture(pipeline: TrimmedPipeline, latents: Latents) -> Image.Image:
    """What the pipeline does after its last step: to the VAE's scale, through it, to 8 bits.

    Raises RenderFailed where the latents are no numbers.
    """
    if not bool(latents.tensor.isfinite().all()):
        raise RenderFailed("The model made no picture of this prompt: try another seed.")
    vae = pipeline.vae
    coded = pipeline._unpack_latents(latents.tensor[None], latents.height, latents.width)  # noqa: SLF001 - as the pipeline packs them
    coded = coded.to(vae.dtype)
    per_channel = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(per_channel).to(coded)
    # Rounded, inverted and divided by in the pipeline's order: the last bit depends on it.
    inverse = 1.0 / torch.tensor(vae.config.latents_std).view(per_channel).to(coded)
    pixels = vae.decode(coded / inverse + mean, return_dict=False)[0][0, :, 0]
    # As VaeImageProcessor.postprocess, rounded to 8 bits before the copy: a quarter of the bytes.
    levels = ((pixels * 0.5 + 0.5).clamp(0, 1).float() * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())


@contextmanager
def working_on(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Work on `stream`, and leave nothing to do on it."""
    if stream is None:
        yield
        return
    with torch.cuda.stream(stream):
        yield
        stream.synchronize()
