"""Qwen3-VL's text layers, called without what transformers wraps around each of them.

For a prompt of 50 tokens the card needs 8 ms and transformers' checks, hooks and six-kernel norms
keep it waiting for 36. These are the same layers with the same weights in a quarter of the calls,
and no further than the last layer that is read.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Rope = tuple[Tensor, Tensor]  # cosines and sines, each (B, L, head_dim)


def tapped_states(
    encoder: Any, ids: Tensor, mask: Tensor, positions: Tensor, taps: Sequence[int]
) -> Tensor:
    """The states (B, L, taps, width) behind the layers numbered `taps`; 0 is the embedding.

    `encoder` is the language half of a Qwen3VLModel; `ids`, `positions` and the bool `mask` of
    real tokens are (B, L).
    """
    x = encoder.embed_tokens(ids)
    rope = encoder.rotary_emb(x, positions.expand(3, -1, -1))
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


def project(layer: Any, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value (B, heads, L, head_dim) of states (B, L, width)."""
    attention = layer.self_attn
    normed = _norm(layer.input_layernorm, x)
    shape = (*x.shape[:2], -1, attention.head_dim)
    query = _norm(attention.q_norm, attention.q_proj(normed).view(shape)).transpose(1, 2)
    key = _norm(attention.k_norm, attention.k_proj(normed).view(shape)).transpose(1, 2)
    value = attention.v_proj(normed).view(shape).transpose(1, 2)
    cos, sin = (part[:, None] for part in rope)
    query, key = (_rotate(part, cos, sin).to(value.dtype) for part in (query, key))
    return query, key, value


def finish(layer: Any, x: Tensor, attended: Tensor) -> Tensor:
    """The layer's states from what it was given and what attention (B, heads, L, D) answered."""
    x = x + layer.self_attn.o_proj(attended.transpose(1, 2).flatten(2))
    normed = _norm(layer.post_attention_layernorm, x)
    gate = functional.silu(layer.mlp.gate_proj(normed))
    out: Tensor = x + layer.mlp.down_proj(gate * layer.mlp.up_proj(normed))
    return out


def _norm(norm: Any, x: Tensor) -> Tensor:
    return functional.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


def _seen(mask: Tensor) -> Tensor:
    """Which keys (B, 1, L, L) each query reads: real tokens up to itself; padding reads itself."""
    causal = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool).tril()
    itself = torch.eye(mask.shape[1], dtype=torch.bool)
    return ((causal & mask[:, None]) | itself)[:, None]
