"""Pictures to latents and back, one frame at a time.

The VAE is a video model whose causal 3-D convolutions see a single picture through their last
temporal slice only. `make_planar` computes them in two dimensions: the same numbers, several times
faster. Trainers, and whoever decodes beside the pipeline, call this module.
"""

from types import MethodType
from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage
from torch import Tensor, nn
from torch.nn import functional


def make_planar(vae: AutoencoderKLQwenImage) -> None:
    """Compute the VAE's convolutions in two dimensions, for single pictures; weights are kept."""
    for module in vae.modules():
        if isinstance(module, nn.Conv3d):
            setattr(module, "forward", MethodType(_planar_convolution, module))  # noqa: B010 - mypy knows `forward` as a method


def _planar_convolution(module: Any, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
    """The causal convolution of one frame; earlier frames are zero, so `cache_x` is None."""
    assert cache_x is None
    padding = (module._padding[2], module._padding[0])  # noqa: SLF001 - diffusers keeps its causal padding there
    out = functional.conv2d(
        x[:, :, 0], module.weight[:, :, -1], module.bias, module.stride[1:], padding
    )
    return out.unsqueeze(2)


@torch.no_grad()
def measure_latents(vae: AutoencoderKLQwenImage, picture: Tensor) -> None:
    """Write the channels' measured mean and deviation into the config, as the pipeline expects."""
    parts = torch.split(picture, 64)
    latents = torch.cat([raw_latents(vae, to_float(part)) for part in parts])
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    vae.register_to_config(
        latents_mean=[round(v, 5) for v in mean.tolist()],
        latents_std=[round(v, 5) for v in deviation.tolist()],
    )


@torch.no_grad()
def raw_latents(vae: AutoencoderKLQwenImage, picture: Tensor) -> Tensor:
    """Latent means (B, 16, H/8, W/8) of pictures in [-1, 1], not yet normalised."""
    features = vae.encoder(picture.unsqueeze(2))
    mean: Tensor = vae.quant_conv(features)[:, :, 0].chunk(2, dim=1)[0]
    return mean.float()


def normalised(vae: AutoencoderKLQwenImage, latents: Tensor) -> Tensor:
    """Latents of zero mean and unit deviation per channel."""
    mean, deviation = (
        torch.tensor(values, device=latents.device)[None, :, None, None]
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return (latents - mean) / deviation


@torch.no_grad()
def decode(vae: AutoencoderKLQwenImage, latents: Tensor) -> Tensor:
    """Pictures in [-1, 1] of normalised latents."""
    mean, deviation = (
        torch.tensor(values, device=latents.device)[None, :, None, None]
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    z = (latents * deviation + mean).unsqueeze(2)
    picture: Tensor = vae.decoder(vae.post_quant_conv(z))[:, :, 0]
    return picture.float().clamp(-1, 1)


def to_float(picture: Tensor) -> Tensor:
    """uint8 pictures to [-1, 1]."""
    return picture.float() / 127.5 - 1
