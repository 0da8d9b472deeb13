"""The VAE of one picture: causal 3-D convolutions as the 2-D ones that they then are.

The Qwen-Image VAE is made for video. With a single frame, a causal convolution over time sees two
frames of zero padding and the picture: only the last temporal slice of its kernel meets data, so a
2-D convolution with that slice is the same function at a third of the arithmetic, on the fast path
of every backend (and without the copies that diffusers keeps for a next frame).
"""

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import (
    QwenImageCausalConv3d,
    QwenImageResidualBlock,
    QwenImageRMS_norm,
    QwenImageUpsample,
)
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import nn
from torch.nn import functional

from inference.engine.trial import runs

# How far a pixel sees behind the middle block, in latents: at each scale two convolutions in each
# of three residual blocks and one after the doubling, 6.5 + 3.25 + 1.6 + 0.9, rounded up.
HALO = 13
SCALE = 8  # pixels a latent
KERNELS = "inference.engine.vae_kernels"
TRIAL_TOLERANCE = 0.02  # bfloat16 near 2.7


class PictureVae(AutoencoderKLQwenImage):  # type: ignore[misc] # diffusers is untyped
    """AutoencoderKLQwenImage for single frames; call `flatten` once its weights are loaded."""

    # The longest side, in latents, that is decoded at once; None: any. Set where memory is short.
    tile_side: int | None = None

    def flatten(self) -> None:
        """Replace each causal 3-D convolution by its 2-D equal, and what is around it, in place."""
        _flatten(self)
        for coder in (self.encoder, self.decoder):
            coder.norm_out, coder.nonlinearity = _Activation(coder.norm_out), nn.Identity()
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
        coded = self.post_quant_conv(z)
        decoded = self.decoder(coded) if self._fits(coded) else self._in_tiles(coded)
        pictures = decoded.clamp(-1.0, 1.0)
        return DecoderOutput(sample=pictures) if return_dict else (pictures,)

    def _fits(self, coded: torch.Tensor) -> bool:
        """Whether the decoder may take all of `coded` at once."""
        return self.tile_side is None or max(coded.shape[-2:]) <= self.tile_side

    def _in_tiles(self, coded: torch.Tensor) -> torch.Tensor:
        """The decoder's answer from tiles of `tile_side` latents, each with a margin.

        Exact, unlike diffusers' blended tiles: the middle block, which sees the whole picture, is
        computed whole at an eighth of the size; behind it every pixel depends on HALO latents
        around it at most (three by three convolutions and norms over channels).
        """
        assert self.tile_side is not None
        x = self.decoder.mid_block(self.decoder.conv_in(coded))
        tops, lefts = (range(0, side, self.tile_side) for side in x.shape[-2:])
        rows = [torch.cat([self._tile(x, top, left) for left in lefts], dim=-1) for top in tops]
        return torch.cat(rows, dim=-2)

    def _tile(self, x: torch.Tensor, top: int, left: int) -> torch.Tensor:
        assert self.tile_side is not None
        above, before = min(HALO, top), min(HALO, left)
        part = x[
            ...,
            top - above : top + self.tile_side + HALO,
            left - before : left + self.tile_side + HALO,
        ]
        for up_block in self.decoder.up_blocks:
            part = up_block(part)
        part = self.decoder.nonlinearity(self.decoder.norm_out(part))
        pixels: torch.Tensor = self.decoder.conv_out(part)[
            ...,
            above * SCALE : (above + self.tile_side) * SCALE,
            before * SCALE : (before + self.tile_side) * SCALE,
        ]
        return pixels


class _PictureConv(nn.Conv2d):
    """What a causal 3-D convolution does to one frame (B, C, 1, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.squeeze(2)).unsqueeze(2)

    def without_bias(self, x: torch.Tensor) -> torch.Tensor:
        """For a picture (B, C, H, W); whoever reads the answer adds the bias on the way."""
        return functional.conv2d(x, self.weight, None, self.stride, self.padding)


class _Upsample(nn.Module):
    """Every pixel (B, C, H, W) four times, in one copy.

    diffusers goes through float32, and torch's own kernel through another order in memory.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pictures, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1)[:, :, None, :, None]
        fourfold = rows.expand(pictures, height, 2, width, 2, channels)
        doubled = fourfold.reshape(pictures, 2 * height, 2 * width, channels)
        return doubled.permute(0, 3, 1, 2)


class _Activation(nn.Module):
    """diffusers' norm over channels and the SiLU behind it, of a frame (B, C, 1, H, W)."""

    def __init__(self, norm: QwenImageRMS_norm) -> None:
        super().__init__()
        self.gamma = nn.Parameter(norm.gamma.detach().flatten(), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.flat(x.squeeze(2), None).unsqueeze(2)

    def flat(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Of a picture (B, C, H, W) and a bias (C,) that its convolution left out."""
        if x.is_cuda and (kernels := fused()):
            active: torch.Tensor = kernels.norm_silu(x, bias, self.gamma)
            return active
        if bias is not None:
            x = x + bias[:, None, None]
        normed = functional.normalize(x.float(), dim=1).to(x.dtype)
        return functional.silu(normed * len(self.gamma) ** 0.5 * self.gamma[:, None, None])


class _PictureBlock(nn.Module):
    """A residual block for one frame: as diffusers', in half as many passes over the picture."""

    def __init__(self, block: QwenImageResidualBlock) -> None:
        super().__init__()
        self.first, self.second = _Activation(block.norm1), _Activation(block.norm2)
        self.conv1, self.conv2 = _picture_conv(block.conv1), _picture_conv(block.conv2)
        has_shortcut = isinstance(block.conv_shortcut, QwenImageCausalConv3d)
        self.shortcut = _picture_conv(block.conv_shortcut) if has_shortcut else None

    def forward(self, x: torch.Tensor, *_frames: object) -> torch.Tensor:
        x = x.squeeze(2)
        inner = self.conv1.without_bias(self.first.flat(x, None))
        inner = self.conv2.without_bias(self.second.flat(inner, self.conv1.bias))
        bias = self.conv2.bias
        assert bias is not None
        if self.shortcut is not None:
            x = self.shortcut.without_bias(x)
            assert self.shortcut.bias is not None
            bias = bias + self.shortcut.bias
        if x.is_cuda and (kernels := fused()):
            joined: torch.Tensor = kernels.join(inner, x, bias)
        else:
            joined = inner + x + bias[:, None, None]
        return joined.unsqueeze(2)


@cache
def fused() -> ModuleType | None:
    """The fused kernels, if they run on this machine's card."""

    def agrees() -> bool:
        kernels = import_module(KERNELS)
        trial = torch.ones(1, 8, 2, 2, device="cuda", dtype=torch.bfloat16)
        bias = torch.ones(8, device="cuda", dtype=torch.bfloat16)
        joined = kernels.join(kernels.norm_silu(trial, bias, bias), trial, bias)
        # All channels alike have the norm 1, whose SiLU is 0.731.
        return bool(((joined - 2.731).abs() < TRIAL_TOLERANCE).all())

    return import_module(KERNELS) if runs(agrees, "decoding is slower.") else None


def _flatten(parent: nn.Module) -> None:
    for name, child in parent.named_children():
        if isinstance(child, QwenImageResidualBlock):
            setattr(parent, name, _PictureBlock(child))
        elif isinstance(child, QwenImageCausalConv3d):
            setattr(parent, name, _picture_conv(child))
        elif isinstance(child, QwenImageUpsample):
            setattr(parent, name, _Upsample())
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
