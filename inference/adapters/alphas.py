"""How strongly a LoRA is meant: alpha over rank, from wherever the trainer wrote it.

A file says it with a tensor `….alpha` for each layer, or once in its metadata as diffusers writes
it, or not at all, which means 1. Here is the metadata; a tensor of its own wins over it.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from inference.adapters.refusal import AdapterRefused

METADATA_KEY = "lora_adapter_metadata"
_PREFIX = "transformer."


@dataclass(frozen=True)
class Alphas:
    """The settings of a PEFT adapter, as far as they say how strong it is."""

    usual: float | None = None
    by_layer: Mapping[str, float] = field(default_factory=dict)
    over_root: bool = False  # "rslora": alpha over the root of the rank

    def scale(self, layer: str, rank: int) -> float:
        """What the product of a layer's halves is multiplied by."""
        alpha = next(
            (alpha for name, alpha in self.by_layer.items() if _names(name, layer)), self.usual
        )
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.over_root else rank)


def read_alphas(metadata: Mapping[str, str]) -> Alphas:
    """Read a file's metadata. Raises AdapterRefused for settings that would be misunderstood."""
    written = metadata.get(METADATA_KEY)
    if written is None:
        return Alphas()
    try:
        settings = {
            name.removeprefix(_PREFIX): value for name, value in json.loads(written).items()
        }
        usual = settings.get("lora_alpha")
        alphas = Alphas(
            usual=None if usual is None else float(usual),
            by_layer={
                _plain(name): float(alpha)
                for name, alpha in (settings.get("alpha_pattern") or {}).items()
            },
            over_root=bool(settings.get("use_rslora")),
        )
    except (ArithmeticError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise AdapterRefused(
            f"The file's {METADATA_KEY} cannot be read, so its strength is not known: save the "
            "LoRA again."
        ) from error
    if settings.get("use_dora"):
        raise AdapterRefused("The file's metadata calls it a DoRA: save it as a plain LoRA.")
    numbers = [*alphas.by_layer.values(), *([] if alphas.usual is None else [alphas.usual])]
    if not all(math.isfinite(alpha) for alpha in numbers):
        raise AdapterRefused("The file's alpha is no number: save the LoRA again.")
    return alphas


def _plain(pattern: str) -> str:
    """PEFT reads these names as patterns; a file's patterns are not run here, only whole names."""
    name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if not re.fullmatch(r"[\w.]+", name):
        raise ValueError("a pattern")
    return name


def _names(name: str, layer: str) -> bool:
    return layer == name or layer.endswith(f".{name}")
