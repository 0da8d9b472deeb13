"""The transformer of a request: what is constant over the steps is computed once, then stepped.

`prepare` makes the constants (fused text, rotary table, modulations of all steps); `step` is one
evaluation of the velocity and holds all of the time. Split so, a step is the same kernels on the
same shapes for every step of a picture, which is what a CUDA graph can record.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from torch.nn import functional

from inference.engine.transformer.low_rank import NO_BRANCHES, BlockBranches

ANGLES_MAX = 8  # rotary tables of pictures that are kept, of up to 8 MB each


@dataclass(frozen=True)
class Prepared:
    """A prompt at one size: everything of a step that is not the latents or the time."""

    text: torch.Tensor  # (1, L, width)
    cos: torch.Tensor  # (L + N, head_dim / 2)
    sin: torch.Tensor  # (L + N, head_dim / 2)

    @property
    def table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The rotary table: cosines and sines."""
        return self.cos, self.sin

    @property
    def text_tokens(self) -> int:
        """L, how many of the rows are text."""
        return self.text.shape[1]


@dataclass(frozen=True)
class Times:
    """What the blocks are told of the time, for each step."""

    shared: torch.Tensor  # (steps, 6, width), for all blocks
    final: torch.Tensor  # (steps, 2, width), behind the last one


class Transformer(nn.Module):
    """Krea 2's transformer; `rest` is diffusers' model without its blocks, `blocks` are ours."""

    def __init__(self, rest: Krea2Transformer2DModel, blocks: nn.ModuleList) -> None:
        """Take both as they are; see `build.build`."""
        super().__init__()
        self.rest = rest
        self.blocks = blocks
        # What LoRAs add to each block; see `inference.engine.branches`, which alone sets it.
        self.branches: Sequence[BlockBranches] | None = None
        # By the picture's rows and columns of tokens. Made on the stream that `prepare` runs on.
        self._angles: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    def without_blocks(self) -> "Transformer":
        """One that can `prepare` and tell `times` beside this one's steps, whatever LoRAs do to it.

        It shares all tensors, and none of the hooks that come later.
        """
        tensors = chain(self.rest.parameters(), self.rest.buffers())
        rest = copy.deepcopy(self.rest, {id(tensor): tensor for tensor in tensors})
        return Transformer(rest, nn.ModuleList())

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the activations."""
        dtype: torch.dtype = self.rest.img_in.weight.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = self.rest.img_in.weight.device
        return device

    def prepare(self, embeds: torch.Tensor, grid: tuple[int, int]) -> Prepared:
        """The constants for text states (1, L, taps, width of the encoder) on a grid of tokens."""
        text = self.rest.txt_in(self.rest.text_fusion(embeds.to(self.device, self.dtype)))
        if grid not in self._angles:
            if len(self._angles) >= ANGLES_MAX:
                self._angles.clear()
            self._angles[grid] = self._angles_of(grid)
        cos, sin = self._angles[grid]
        # All text is at place 0 of each axis, where nothing is turned.
        turned = text.shape[1], cos.shape[1]
        return Prepared(
            text,
            torch.cat([cos.new_ones(turned), cos]),
            torch.cat([sin.new_zeros(turned), sin]),
        )

    def _angles_of(self, grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (rows * columns, head_dim / 2) of a picture's tokens."""
        rows, columns = grid
        ids = torch.zeros(rows, columns, 3, device=self.device)
        ids[..., 1] = torch.arange(rows, device=self.device)[:, None]
        ids[..., 2] = torch.arange(columns, device=self.device)[None]
        # diffusers writes each angle twice, for both halves of the pair that it turns.
        cos, sin = (table[:, ::2].contiguous() for table in self.rest.rotary_emb(ids.flatten(0, 1)))
        return cos, sin

    def times(self, sigmas: Sequence[float] | torch.Tensor) -> Times:
        """The modulations of all steps; `sigmas` in [0, 1], rounded to the model's precision."""
        moments = torch.as_tensor(sigmas, device=self.device).to(self.dtype)
        # One at a time as in a step of diffusers: a product of another shape rounds differently.
        embedded = torch.cat([self.rest.time_embed(each[None], self.dtype) for each in moments])
        shared = torch.cat([self._modulate(each) for each in embedded])
        final = embedded + self.rest.final_layer.scale_shift_table
        return Times(shared.view(len(moments), 6, -1), final)

    def step(
        self, latents: torch.Tensor, prepared: Prepared, times: Times, index: int
    ) -> torch.Tensor:
        """The velocity (B, N, channels) of packed latents of that shape at step `index`."""
        return self.evaluate(latents, prepared, times.shared[index], times.final[index])

    def evaluate(
        self,
        latents: torch.Tensor,
        prepared: Prepared,
        shared: torch.Tensor,
        final: torch.Tensor,
    ) -> torch.Tensor:
        """As `step`, with one step's modulations (6, width) and (2, width)."""
        text = prepared.text.expand(len(latents), -1, -1)
        x = torch.cat([text, self.rest.img_in(latents)], dim=1)
        x = self.run_blocks(x, shared, prepared)
        return self.finish(x[:, prepared.text_tokens :], final)

    def run_blocks(self, x: torch.Tensor, shared: torch.Tensor, prepared: Prepared) -> torch.Tensor:
        """`x` (B, S, width) through all blocks."""
        for index, block in enumerate(self.blocks):
            x = block(x, shared, prepared.table, x.shape[1], self.branches_of(index))
        return x

    def branches_of(self, index: int) -> BlockBranches:
        """What LoRAs add to a block; nothing where there are none."""
        return NO_BRANCHES if self.branches is None else self.branches[index]

    @property
    def branch_rank(self) -> int:
        """The rank at which LoRAs are applied, on which a recorded step depends; 0 without."""
        first = self.branches_of(0).attention_in
        return 0 if first is None else first.rank

    def finish(self, x: torch.Tensor, final: torch.Tensor) -> torch.Tensor:
        """The velocity (B, n, channels) of rows (B, n, width) behind the last block."""
        scale, shift = final.unbind(0)
        last = self.rest.final_layer
        velocity: torch.Tensor = last.linear((1.0 + scale) * last.norm(x) + shift)
        return velocity

    def _modulate(self, embedded: torch.Tensor) -> torch.Tensor:
        active = functional.gelu(embedded[None], approximate="tanh")
        modulation: torch.Tensor = self.rest.time_mod_proj(active)
        return modulation[:, 0]
