"""Captions to the stack of text states that conditions the transformer.

The pipeline puts a fixed template of 34 tokens before every caption. Attention in the text encoder
is causal, so the states of those tokens are the same for all captions: here they are computed once
for a batch and the captions attend to them, which halves the encoder's work and changes nothing
else. Captions are laid out [caption | suffix | padding]; the pipeline pads before the suffix, but
positions count real tokens only, so valid states are equal (a test compares them).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen2Tokenizer, Qwen3VLModel

from inference.engine.qwen import Rope, finish, project, rope_of
from inference.training.tokenizer import PREFIX, SUFFIX

# The text encoder's layers whose outputs the transformer reads: the pipeline's default.
TAPS = (2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35)


def tokenize(
    tokenizer: Qwen2Tokenizer, captions: Sequence[str], length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Token ids (B, length) int32 and the number of valid ones (B,) int32, suffix included.

    A caption too long for `length` loses its last tokens, as in the pipeline; the suffix stays.
    """
    suffix = tokenizer(SUFFIX).input_ids
    room = length - len(suffix)
    ids = np.full((len(captions), length), tokenizer.pad_token_id, dtype=np.int32)
    counts = np.empty(len(captions), dtype=np.int32)
    # The Rust tokenizer itself: it uses every core and builds no wrapper around each caption.
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(
        list(captions), add_special_tokens=False
    )
    for row, encoding in enumerate(encodings):
        line = encoding.ids[:room] + suffix
        ids[row, : len(line)] = line
        counts[row] = len(line)
    return ids, counts


class TextStates(nn.Module):
    """Runs a Qwen3-VL text encoder on captions after the shared template prefix."""

    def __init__(self, encoder: Qwen3VLModel, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__()
        self.encoder = encoder.language_model
        prefix = torch.tensor([tokenizer(PREFIX).input_ids])
        self.register_buffer("prefix", prefix, persistent=False)
        self.prefix: Tensor
        self.layer = encode_layer

    def compile_layers(self) -> None:
        """Compile one layer's function; all layers share the compiled code."""
        self.layer = torch.compile(encode_layer)

    def forward(self, ids: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, L, 12, D) and mask (B, L) of caption ids (B, L) with `counts` valid tokens."""
        length, before = ids.shape[1], self.prefix.shape[1]
        head = self.encoder.embed_tokens(self.prefix)
        tail = self.encoder.embed_tokens(ids)
        index = torch.arange(before + length, device=ids.device)
        rope = rope_of(self.encoder, head, index.expand(3, 1, -1))
        seen = index[None, :] <= index[before:, None]  # (L, prefix + L)
        taps = []
        for number, layer in enumerate(self.encoder.layers[: max(TAPS)], start=1):
            head, tail = self.layer(layer, head, tail, rope, seen)
            if number in TAPS:
                taps.append(tail)
        mask = torch.arange(length, device=ids.device)[None, :] < counts[:, None]
        return torch.stack(taps, dim=2), mask


def encode_layer(
    layer: Any, head: Tensor, tail: Tensor, rope: Rope, seen: Tensor
) -> tuple[Tensor, Tensor]:
    """One Qwen3-VL layer on the prefix (1, P, D) and the captions (B, L, D) that follow it."""
    batch, before = tail.shape[0], head.shape[1]
    cos, sin = rope
    first = project(layer, head, (cos[:, :before], sin[:, :before]))
    rest = project(layer, tail, (cos[:, before:], sin[:, before:]))
    query, key, value = first
    attended = functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=True
    )
    head = finish(layer, head, attended)
    key, value = (
        torch.cat([ours.expand(batch, -1, -1, -1), theirs], dim=2)
        for ours, theirs in zip(first[1:], rest[1:], strict=True)
    )
    groups = rest[0].shape[1] // key.shape[1]
    attended = functional.scaled_dot_product_attention(
        rest[0],
        key.repeat_interleave(groups, dim=1),
        value.repeat_interleave(groups, dim=1),
        attn_mask=seen,
    )
    return head, finish(layer, tail, attended)
