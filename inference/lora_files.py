"""LoRA files in the weights folder, and which model each was made for, told by their headers.

A safetensors file begins with a JSON list of its tensors. A LoRA fits a model if the model has
every layer that it changes, with the same number of inputs. Nothing is loaded. No torch.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

HEADER_BYTES_MAX = 64 * 2**20  # the header of the largest model has a few megabytes
LENGTH_BYTES = 8  # the header's length stands before it, little-endian

# The names that diffusers and PEFT give to the half of a LoRA that meets the layer's input.
_INPUT_HALF = re.compile(
    r"(?:transformer\.|base_model\.model\.)*(?P<layer>.+)\.(?:lora_A|lora\.down|lora_down)"
    r"(?:\.\w+)?\.weight"
)


def find(weights_folder: Path) -> list[Path]:
    """Return the LoRA files below a folder, in the order of their names."""
    return [
        path
        for path in sorted(weights_folder.rglob("*.safetensors"))
        if any("lora" in name.lower() for name in _shapes(path))
    ]


def fits(lora: Path, model_folder: Path) -> bool:
    """Whether a LoRA changes layers of this model and no others."""
    asked = {
        found["layer"]: shape[-1]
        for name, shape in _shapes(lora).items()
        if (found := _INPUT_HALF.fullmatch(name)) is not None and shape
    }
    if not asked:
        return False
    offered: dict[str, int] = {}
    for part in sorted((model_folder / "transformer").glob("*.safetensors")):
        for name, shape in _shapes(part).items():
            if name.endswith(".weight") and shape:
                offered[name.removesuffix(".weight")] = shape[-1]
    return all(offered.get(layer) == inputs for layer, inputs in asked.items())


def _shapes(path: Path) -> Mapping[str, list[int]]:
    """Read the shape of every tensor in a file; nothing for a file that cannot be read so."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if length > HEADER_BYTES_MAX:
                return {}
            header = json.loads(file.read(length))
        return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
