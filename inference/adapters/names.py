"""What a LoRA file calls a layer, and what the model calls it.

Trainers write the same update under many names: diffusers' or Krea's own, behind one of several
prefixes, with dots or with underscores for them. A flattened name cannot be split again by rule
(`to_out_0`), so every name is looked up among all names of the model's own layers. What is found
is what the model has; nothing is guessed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Naming = Literal["diffusers", "krea"]

# Diffusers' names and Krea's, as far as a LoRA can change the layer.
_WHOLE = {
    "img_in": "first",
    "final_layer.linear": "last.linear",
    "time_embed.linear_1": "tmlp.0",
    "time_embed.linear_2": "tmlp.2",
    "time_mod_proj": "tproj.1",
    "txt_in.linear_1": "txtmlp.1",
    "txt_in.linear_2": "txtmlp.3",
}
_PARTS = {
    "transformer_blocks.": "blocks.",
    "text_fusion.": "txtfusion.",
    ".attn.to_q": ".attn.wq",
    ".attn.to_k": ".attn.wk",
    ".attn.to_v": ".attn.wv",
    ".attn.to_out.0": ".attn.wo",
    ".attn.to_gate": ".attn.gate",
    ".ff.": ".mlp.",
}
_DOTTED = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.")
_FLAT = ("lora_unet_", "lora_transformer_", "lycoris_")
_TEXT_ENCODER = re.compile(
    r"(?:base_model\.model\.)?(?:text_encoders?(?:_\d)?\.|lora_te\d?_|te\d?_)"
)

# What is behind a layer's name: which of its tensors this is.
_LORA = re.compile(
    r"(?P<layer>.+?)\.(?:(?P<down>lora_A|lora_down|lora\.down)|lora_B|lora_up|lora\.up)"
    r"(?:\.(?!weight$)\w+)?\.weight"
)
_OTHER = re.compile(
    r"(?P<layer>.+)\.(?P<role>alpha|lokr_(?:w1|w1_a|w1_b|w2|w2_a|w2_b|t2))(?:\.weight)?"
)
_DORA = re.compile(r".*(?:dora_scale|lora_magnitude_vector).*")


@dataclass(frozen=True)
class Found:
    """A key of a file, understood."""

    layer: str  # the model's own name
    role: str  # "down", "up", "alpha", "lokr_w1", "lokr_w1_a", …
    naming: Naming
    prefix: str


class Names:
    """All names of a model's layers."""

    def __init__(self, layers: Iterable[str]) -> None:
        """`layers` are the model's own names, such as `transformer_blocks.0.attn.to_q`."""
        self._dotted: dict[str, tuple[str, Naming]] = {}
        for layer in layers:
            self._dotted[krea_name(layer)] = layer, "krea"
            self._dotted[layer] = layer, "diffusers"
        self._flat = {name.replace(".", "_"): found for name, found in self._dotted.items()}

    def find(self, key: str) -> Found | None:
        """What `key` of a file names in this model; None if it names nothing."""
        split = _split(key)
        if split is None:
            return None
        name, role = split
        for prefix in _FLAT:
            if name.startswith(prefix):
                return _found(self._flat.get(name.removeprefix(prefix)), role, prefix)
        rest = name
        while rest not in self._dotted:
            prefix = next((each for each in _DOTTED if rest.startswith(each)), "")
            if not prefix:
                return None
            rest = rest.removeprefix(prefix)
        return _found(self._dotted[rest], role, name.removesuffix(rest))


def krea_name(layer: str) -> str:
    """What Krea's own code calls a layer of diffusers' model."""
    if layer in _WHOLE:
        return _WHOLE[layer]
    for ours, theirs in _PARTS.items():
        layer = layer.replace(ours, theirs)
    return layer


def is_of_text_encoder(key: str) -> bool:
    """Whether a key changes the text encoder."""
    return _TEXT_ENCODER.match(key) is not None


def is_dora(key: str) -> bool:
    """Whether a key belongs to DoRA, which also sets the length of each row of the weights."""
    return _DORA.fullmatch(key) is not None


def _split(key: str) -> tuple[str, str] | None:
    lora = _LORA.fullmatch(key)
    if lora is not None:
        return lora["layer"], "down" if lora["down"] else "up"
    other = _OTHER.fullmatch(key)
    return None if other is None else (other["layer"], other["role"])


def _found(match: tuple[str, Naming] | None, role: str, prefix: str) -> Found | None:
    return None if match is None else Found(match[0], role, match[1], prefix)


def layers_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    """The layers that a LoRA can change among a checkpoint's tensors: name → (out, in)."""
    return {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) == 2  # noqa: PLR2004 - matrices
    }
