"""One transformer block with fused projections, and the projections in two precisions.

Same function as diffusers' Krea2TransformerBlock. Query, key, value and gate are one matrix
product, gate and up of the feed-forward another: one reading of the activations each, and shapes
that fill the card. What the time says to all blocks and the rotary table are made once for a
request. No argument may be a view of a larger tensor: compiled code would be made anew for each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from inference.engine.transformer.attention import Attend
from inference.engine.transformer.low_rank import NO_BRANCHES, BlockBranches, add_branch

FLOAT8 = torch.float8_e4m3fn
FLOAT8_MAX = torch.finfo(FLOAT8).max
SCALE_MIN = 1e-12  # of a row of zeros, which must not be divided by zero


@dataclass(frozen=True)
class Shape:
    """The dimensions of a block."""

    width: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """Read them from the configuration of a Krea2Transformer2DModel."""
        heads, head_dim = config["num_attention_heads"], config["attention_head_dim"]
        kv_heads = config["num_key_value_heads"]
        return cls(heads * head_dim, heads, kv_heads, head_dim, config["norm_eps"])

    @property
    def attention_parts(self) -> list[int]:
        """Widths of query, key, value and gate in the fused projection."""
        keys = self.kv_heads * self.head_dim
        return [self.width, keys, keys, self.width]


class Projection(nn.Module):
    """A matrix product without bias; `weight` is (out, in)."""

    def __init__(self, weight: torch.Tensor) -> None:
        """Keep `weight` in its own precision."""
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight)


class Float8Projection(nn.Module):
    """A matrix product of 8-bit floats with one scale a row: of weights at load, of `x` each time.

    The rows of `x` are scaled by their largest value when they are met, so nothing is calibrated
    and a picture does not depend on its company. Compiled, the scaling is part of the kernel that
    made `x`, and taking the scales out again part of the one that reads the product: torch's matrix
    kernels for scales of rows are slower, and a float of 16 bits loses nothing by being scaled
    later. It replaces torchao's Float8DynamicActivationFloat8WeightConfig: a dozen lines instead of
    a tensor subclass through compile.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        """Round `weight` (out, in) to 8 bits, with a scale for each of its rows."""
        super().__init__()
        scale = _scale(weight)
        rounded = (weight.float() / scale).clamp(-FLOAT8_MAX, FLOAT8_MAX).to(FLOAT8)
        self.weight = nn.Parameter(rounded, requires_grad=False)
        self.scale = nn.Parameter(scale.flatten(), requires_grad=False)
        self.one = nn.Parameter(torch.ones((), device=weight.device), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(0, -2)
        scale = _scale(rows)
        rounded = (rows.float() / scale).clamp(-FLOAT8_MAX, FLOAT8_MAX).to(FLOAT8)
        product: torch.Tensor = torch._scaled_mm(  # noqa: SLF001 - torch's only call for it
            rounded,
            self.weight.t(),
            scale_a=self.one,
            scale_b=self.one,
            out_dtype=x.dtype,
            use_fast_accum=True,
        )
        return (product * scale * self.scale).to(x.dtype).view(*x.shape[:-1], -1)


Project = Callable[[torch.Tensor], nn.Module]
PROJECTIONS: Mapping[str, Project] = {"plain": Projection, "float8": Float8Projection}


class Block(nn.Module):
    """Pre-norm attention with an output gate, then SwiGLU; both modulated by the time."""

    def __init__(
        self, shape: Shape, read: Callable[[str], torch.Tensor], project: Project, attend: Attend
    ) -> None:
        """Take the tensors that `read` gives for diffusers' names within the block."""
        super().__init__()
        self.shape = shape
        self.attend = attend
        # Norms scale by 1 + weight, in float32 as the checkpoint format asks.
        self.table = nn.Parameter(read("scale_shift_table"), requires_grad=False)
        self.norm1 = _norm_scale(read("norm1.weight"))
        self.norm2 = _norm_scale(read("norm2.weight"))
        self.norm_q = _norm_scale(read("attn.norm_q.weight"))
        self.norm_k = _norm_scale(read("attn.norm_k.weight"))
        self.attention_in = project(
            torch.cat([read(f"attn.to_{part}.weight") for part in ("q", "k", "v", "gate")])
        )
        self.attention_out = project(read("attn.to_out.0.weight"))
        self.feed_in = project(torch.cat([read("ff.gate.weight"), read("ff.up.weight")]))
        self.feed_out = project(read("ff.down.weight"))

    def forward(
        self,
        x: torch.Tensor,
        shared: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        tokens: int,
        *,
        branches: BlockBranches = NO_BRANCHES,
    ) -> torch.Tensor:
        """`x` (B, S, width), the time's `shared` (6, width), rotary table (S, head_dim / 2) twice.

        `tokens` is S, or the rows of all processes together if `x` is only this one's share;
        `branches` is what LoRAs add.
        """
        modulation = shared + self.table
        prescale, preshift, pregate, postscale, postshift, postgate = modulation.unbind(0)
        normed = self._norm(x, self.norm1)
        modulated = (1.0 + prescale) * normed + preshift
        x = x + pregate * self._attention(modulated, (cos, sin), tokens, branches)
        normed = self._norm(x, self.norm2)
        out: torch.Tensor = x + postgate * self._feed(
            (1.0 + postscale) * normed + postshift, branches
        )
        return out

    def _attention(
        self,
        x: torch.Tensor,
        table: tuple[torch.Tensor, torch.Tensor],
        tokens: int,
        branches: BlockBranches,
    ) -> torch.Tensor:
        widths = self.shape.attention_parts
        fused = add_branch(self.attention_in(x), x, branches.attention_in, widths)
        parts = torch.split(fused, widths, dim=-1)
        rows = x.shape[:-1]
        query, key, value = (p.reshape(*rows, -1, self.shape.head_dim) for p in parts[:3])
        query = rotate(self._norm(query, self.norm_q), *table)
        key = rotate(self._norm(key, self.norm_k), *table)
        mixed = self.attend(query, key, value, tokens).flatten(2)
        gated = mixed * torch.sigmoid(parts[3])
        return add_branch(
            self.attention_out(gated), gated, branches.attention_out, [self.shape.width]
        )

    def _feed(self, x: torch.Tensor, branches: BlockBranches) -> torch.Tensor:
        fused = self.feed_in(x)
        half = fused.shape[-1] // 2
        gate, up = add_branch(fused, x, branches.feed_in, [half, half]).chunk(2, dim=-1)
        inner = functional.silu(gate) * up
        return add_branch(self.feed_out(inner), inner, branches.feed_out, [self.shape.width])

    def _norm(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        wide = functional.rms_norm(x.float(), scale.shape, scale, self.shape.eps)
        return wide.to(x.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn neighbouring pairs of (B, S, heads, head_dim) by angles of (S, head_dim / 2)."""
    even, odd = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = cos[:, None], sin[:, None]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def _norm_scale(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.float() + 1.0, requires_grad=False)


def _scale(rows: torch.Tensor) -> torch.Tensor:
    """What each row (…, 1) is divided by to fill the range of 8 bits."""
    return rows.abs().amax(-1, keepdim=True).float().clamp(min=SCALE_MIN) / FLOAT8_MAX
