"""The VAE of one picture: causal 3-D convolutions as the 2-D ones that they then are.

The Qwen-Image VAE is made for video. With a single frame, a causal convolution over time sees two
frames of zero padding and the picture: only the last temporal slice of its kernel meets data, so a
2-D convolution with that slice is the same function at a third of the arithmetic, on the fast path
of every backend (and without the copies that diffusers keeps for a next frame).
"""

from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import nn


class PictureVae(AutoencoderKLQwenImage):  # type: ignore[misc] # diffusers is untyped
    """AutoencoderKLQwenImage for single frames; call `flatten` once its weights are loaded."""

    def flatten(self) -> None:
        """Replace each causal 3-D convolution by its 2-D equal, in place."""
        _flatten(self)
        # Channels last in memory is the fast order for oneDNN and cuDNN: 30 to 40 % less on a CPU.
        self.to(memory_format=torch.channels_last)

    def _encode(self, x: torch.Tensor) -> torch.Tensor:
        """Moments (B, 32, 1, H/8, W/8) of pictures (B, 3, 1, H, W) in [-1, 1]."""
        _refuse_video(x)
        moments: torch.Tensor = self.quant_conv(self.encoder(x))
        return moments

    def _decode(
        self,
        z: torch.Tensor,
        return_dict: bool = True,  # noqa: FBT001, FBT002 - diffusers' own signature
    ) -> DecoderOutput | tuple[torch.Tensor]:
        """Pictures (B, 3, 1, 8h, 8w) in [-1, 1] of latents (B, 16, 1, h, w)."""
        _refuse_video(z)
        pictures = self.decoder(self.post_quant_conv(z)).clamp(-1.0, 1.0)
        return DecoderOutput(sample=pictures) if return_dict else (pictures,)


class _PictureConv(nn.Conv2d):
    """What a causal 3-D convolution does to one frame (B, C, 1, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.squeeze(2)).unsqueeze(2)


def _flatten(parent: nn.Module) -> None:
    for name, child in parent.named_children():
        if isinstance(child, QwenImageCausalConv3d):
            setattr(parent, name, _picture_conv(child))
        else:
            _flatten(child)


def _picture_conv(conv: Any) -> _PictureConv:
    left, _, top, *_ = conv._padding  # noqa: SLF001 - the padding that diffusers moved out of `padding`
    flat = _PictureConv(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size[1:],
        stride=conv.stride[1:],
        padding=(top, left),
        device="meta",
    )
    flat.weight = nn.Parameter(conv.weight.detach()[:, :, -1].clone(), requires_grad=False)
    flat.bias = conv.bias
    return flat


def _refuse_video(x: torch.Tensor) -> None:
    if x.shape[2] != 1:
        raise ValueError(f"a flattened VAE takes one frame, not {x.shape[2]}")
