"""LoRAs: files that change a model's transformer a little, of every common layout. Loads no torch.

`inspect` is for the web process: it reads headers and refuses what could not be drawn with. In the
worker `tensors.read` gives the numbers, and `inference.engine.branches` draws with them. A file
either has its full effect or is refused with a sentence; diffusers drops some layouts in silence.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from inference.adapters.alphas import read_alphas
from inference.adapters.header import read_checked, read_header
from inference.adapters.names import layers_of
from inference.adapters.plan import Layers, Layout, make_plan
from inference.adapters.refusal import AdapterRefused

__all__ = ["AdapterRefused", "Summary", "find", "fits", "inspect"]


@dataclass(frozen=True)
class Summary:
    """What a LoRA file is, for the person who brings it."""

    layout: Layout
    layers: int  # how many layers of the model it changes; all that it names
    rank: int  # the largest; of a LoKr the rank at which it is applied
    parameters: int  # numbers in the file


def inspect(path: Path, model_folder: Path) -> Summary:
    """What the LoRA in `path` is to the model whose checkpoint lies in `model_folder`.

    Reads headers alone, so NaN is found only by the worker. Raises AdapterRefused with a sentence.
    """
    header = read_checked(path)
    plan = make_plan(header, model_layers(model_folder))
    read_alphas(header.metadata)
    return Summary(
        layout=plan.layout,
        layers=len(plan.changes),
        rank=plan.rank,
        parameters=sum(math.prod(shape) for shape in header.shapes.values()),
    )


def model_layers(model_folder: Path) -> Layers:
    """The layers of a checkpoint's transformer. Raises AdapterRefused if its files are not here."""
    layers: dict[str, tuple[int, int]] = {}
    for part in sorted((model_folder / "transformer").glob("*.safetensors")):
        layers |= layers_of(read_header(part).shapes)
    if not layers:
        raise AdapterRefused(
            "The model's weights are not on this machine, so the LoRA cannot be checked against "
            "them: ask the operator to put them there."
        )
    return layers


def find(weights_folder: Path) -> list[Path]:
    """Return the LoRA files below a folder, in the order of their names."""
    return [path for path in sorted(weights_folder.rglob("*.safetensors")) if _is_lora(path)]


def fits(lora: Path, model_folder: Path) -> bool:
    """Whether a LoRA changes layers of this model and no others."""
    try:
        make_plan(read_header(lora), model_layers(model_folder))
    except AdapterRefused:
        return False
    return True


def _is_lora(path: Path) -> bool:
    try:
        names = read_header(path).shapes
    except AdapterRefused:
        return False
    return any("lora" in name.lower() or "lokr" in name.lower() for name in names)
