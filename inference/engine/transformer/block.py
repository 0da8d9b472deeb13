"""One transformer block with fused projections, and the projections in two precisions.

Same function as diffusers' Krea2TransformerBlock. Query, key, value and gate are one matrix
product, gate and up of the feed-forward another: one reading of the activations each, and shapes
that fill the card. What the time says to all blocks and the rotary table are made once for a
request.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from inference.engine.transformer.attention import Attend
from inference.engine.transformer.low_rank import NO_BRANCHES, BlockBranches, Branch
from inference.engine.transformer.pointwise import Pointwise, Product, Rows, to_float8


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
    """A matrix product without bias; `weight` is (out, in), of fused parts with these widths."""

    columns: torch.Tensor | None = None  # scales of the outputs

    def __init__(self, weight: torch.Tensor, parts: Sequence[int]) -> None:
        """Keep `weight` in its own precision."""
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.parts = list(parts)

    def forward(self, rows: Rows, branch: Branch | None) -> Product:
        """What becomes of `rows` (R, in), with what LoRAs add."""
        product = functional.linear(rows.values, self.weight)
        if branch is not None:
            branch.add_to(product, functional.linear(rows.values, branch.down))
        return Product(product)


class Float8Projection(nn.Module):
    """A matrix product of 8-bit floats with one scale a row: of weights at load, of rows each time.

    The rows are scaled by their largest value when they are made, so nothing is calibrated and a
    picture does not depend on its company. It replaces torchao's
    Float8DynamicActivationFloat8WeightConfig: a dozen lines instead of a tensor subclass.
    """

    def __init__(self, weight: torch.Tensor, parts: Sequence[int]) -> None:
        """Round `weight` (out, in) to 8 bits, with a scale for each of its rows."""
        super().__init__()
        rounded, scale = to_float8(weight)
        self.weight = nn.Parameter(rounded, requires_grad=False)
        self.columns = nn.Parameter(scale.flatten(), requires_grad=False)
        self.one = nn.Parameter(torch.ones((), device=weight.device), requires_grad=False)
        self.dtype = weight.dtype
        self.parts = list(parts)

    def forward(self, rows: Rows, branch: Branch | None) -> Product:
        """What becomes of `rows` (R, in), with what LoRAs add; not scaled yet."""
        product = self._multiply(rows.values, self.weight)
        if branch is not None:
            branch.add_to(product, self._multiply(rows.values, branch.down))
        return Product(product, rows.scale, self.columns)

    def _multiply(self, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch._scaled_mm(  # noqa: SLF001 - torch's only call for it
            rows,
            weight.t(),
            scale_a=self.one,
            scale_b=self.one,
            out_dtype=self.dtype,
            use_fast_accum=True,
        )
        return product


Project = Callable[[torch.Tensor, Sequence[int]], Projection | Float8Projection]
PROJECTIONS: Mapping[str, Project] = {"plain": Projection, "float8": Float8Projection}


class Block(nn.Module):
    """Pre-norm attention with an output gate, then SwiGLU; both modulated by the time."""

    def __init__(
        self,
        shape: Shape,
        read: Callable[[str], torch.Tensor],
        project: Project,
        attend: Attend,
        pointwise: Pointwise,
    ) -> None:
        """Take the tensors that `read` gives for diffusers' names within the block."""
        super().__init__()
        self.shape = shape
        self.attend = attend
        self.pointwise = pointwise
        # Norms scale by 1 + weight, in float32 as the checkpoint format asks.
        self.table = nn.Parameter(read("scale_shift_table"), requires_grad=False)
        self.norm1 = _norm_scale(read("norm1.weight"))
        self.norm2 = _norm_scale(read("norm2.weight"))
        self.norm_q = _norm_scale(read("attn.norm_q.weight"))
        self.norm_k = _norm_scale(read("attn.norm_k.weight"))

        def fuse(*names: str) -> Projection | Float8Projection:
            weights = [read(f"{name}.weight") for name in names]
            return project(torch.cat(weights), [len(weight) for weight in weights])

        self.attention_in = fuse(*(f"attn.to_{part}" for part in ("q", "k", "v", "gate")))
        self.attention_out = fuse("attn.to_out.0")
        self.feed_in = fuse("ff.gate", "ff.up")
        self.feed_out = fuse("ff.down")

    def forward(
        self,
        x: torch.Tensor,
        shared: torch.Tensor,
        table: tuple[torch.Tensor, torch.Tensor],
        tokens: int,
        branches: BlockBranches = NO_BRANCHES,
    ) -> torch.Tensor:
        """`x` (B, S, width), the time's `shared` (6, width), rotary table (S, head_dim / 2) twice.

        `tokens` is S, or the rows of all processes together if `x` is only this one's share;
        `branches` is what LoRAs add.
        """
        between = self.pointwise
        prescale, preshift, pregate, postscale, postshift, postgate = (shared + self.table).unbind()
        residual = x.flatten(0, 1)
        rows = between.modulated(residual, self.norm1, (prescale, preshift))
        fused = self.attention_in(rows, branches.attention_in)
        mixed = self._attend(fused, table, len(x), tokens)
        product = self.attention_out(between.gated(mixed, fused), branches.attention_out)
        residual, rows = between.added_and_modulated(
            residual, product, pregate, self.norm2, (postscale, postshift)
        )
        inner = between.swiglu(self.feed_in(rows, branches.feed_in))
        product = self.feed_out(inner, branches.feed_out)
        return between.added(residual, product, postgate).view(x.shape)

    def _attend(
        self, fused: Product, table: tuple[torch.Tensor, torch.Tensor], pictures: int, tokens: int
    ) -> torch.Tensor:
        """Attention's answer (R, width)."""
        query, key, value = (
            part.view(pictures, -1, *part.shape[1:])
            for part in self.pointwise.heads(
                fused,
                (self.shape.attention_parts[0], self.shape.attention_parts[1]),
                (self.norm_q, self.norm_k),
                table,
            )
        )
        return self.attend(query, key, value, tokens).flatten(2).flatten(0, 1)


def _norm_scale(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.float() + 1.0, requires_grad=False)
