"""Qwen3-VL's text layers, called without what transformers wraps around each of them.

For a prompt of 50 tokens the card needs 8 ms, and transformers' checks, hooks and six-kernel norms
keep it waiting for 36. These are the same layers with the same weights in a third of the calls
(how many there are is what counts), and they end with the last layer that is read.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Cosines, and sines of which the first half is negative, each (B, L, 1, head_dim).
Rope = tuple[Tensor, Tensor]


def tapped_states(
    encoder: Any, ids: Tensor, mask: Tensor, positions: Tensor, taps: Sequence[int]
) -> Tensor:
    """The states (B, L, taps, width) behind the layers numbered `taps`; 0 is the embedding.

    `encoder` is the language half of a Qwen3VLModel; `ids`, `positions` and the bool `mask` of
    real tokens are (B, L).
    """
    x = encoder.embed_tokens(ids)
    rope = rope_of(encoder, x, positions.expand(3, -1, -1))
    seen = None if bool(mask.all()) else _seen(mask).to(x.device)
    states = [x]
    for layer in encoder.layers[: max(taps)]:
        query, key, value = project(layer, x, rope)
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, is_causal=seen is None, enable_gqa=True
        )
        x = finish(layer, x, attended)
        states.append(x)
    return torch.stack([states[tap] for tap in taps], dim=2)


def rope_of(encoder: Any, x: Tensor, positions: Tensor) -> Rope:
    """The rotary table for `positions` (3, B, L), in the precision of `x`."""
    cos, sin = encoder.rotary_emb(x, positions)
    left, right = sin.chunk(2, dim=-1)
    return cos[:, :, None], torch.cat([-left, right], dim=-1)[:, :, None]


def project(layer: Any, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value (B, heads, L, head_dim) of states (B, L, width)."""
    attention = layer.self_attn
    normed = _norm(layer.input_layernorm, x)
    shape = (*x.shape[:2], -1, attention.head_dim)
    query = _norm(attention.q_norm, attention.q_proj(normed).view(shape))
    key = _norm(attention.k_norm, attention.k_proj(normed).view(shape))
    value = attention.v_proj(normed).view(shape)
    queries = query.shape[2]
    cos, sin = rope
    both = torch.cat([query, key], dim=2)
    both = torch.addcmul(both * cos, both.roll(attention.head_dim // 2, -1), sin).to(value.dtype)
    both = both.transpose(1, 2)
    return both[:, :queries], both[:, queries:], value.transpose(1, 2)


def finish(layer: Any, x: Tensor, attended: Tensor) -> Tensor:
    """The layer's states from what it was given and what attention (B, heads, L, D) answered."""
    rows = x.flatten(0, 1)
    rows = torch.addmm(
        rows, attended.transpose(1, 2).flatten(2).flatten(0, 1), layer.self_attn.o_proj.weight.t()
    )
    normed = _norm(layer.post_attention_layernorm, rows)
    inner = functional.silu(layer.mlp.gate_proj(normed)) * layer.mlp.up_proj(normed)
    return torch.addmm(rows, inner, layer.mlp.down_proj.weight.t()).view(x.shape)


def _norm(norm: Any, x: Tensor) -> Tensor:
    return functional.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _seen(mask: Tensor) -> Tensor:
    """Which keys (B, 1, L, L) each query reads: real tokens up to itself; padding reads itself."""
    causal = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool).tril()
    itself = torch.eye(mask.shape[1], dtype=torch.bool)
    return ((causal & mask[:, None]) | itself)[:, None]
