"""From a checkpoint's tensors to the transformer, block by block.

Tensors are read one block at a time straight onto the device, fused and, if asked, rounded to 8
bits there, so that the peak is the finished model and one block. Any function from diffusers'
names to tensors is a source: a folder, another model in memory, a generator of random weights.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import Krea2Transformer2DModel
from safetensors import safe_open
from torch import nn

from inference.engine.profile import Precision
from inference.engine.transformer.attention import attend, fastest
from inference.engine.transformer.block import PROJECTIONS, Block, Shape
from inference.engine.transformer.choice import fastest_pointwise
from inference.engine.transformer.model import Transformer
from inference.engine.transformer.streaming import SLOTS, StreamedTransformer, put_away

Read = Callable[[str], torch.Tensor]


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of the Krea2Transformer2DModel in `folder`."""
    config: dict[str, Any] = Krea2Transformer2DModel.load_config(folder, local_files_only=True)
    return dict(Krea2Transformer2DModel.extract_init_dict(config)[0])


def build(
    config: Mapping[str, Any],
    read: Read,
    dtype: torch.dtype,
    precision: Precision = "plain",
    *,
    resident: int | None = None,
) -> Transformer:
    """The transformer of `config` on the device where `read` puts tensors.

    `read` takes diffusers' names; norms are kept in float32, the rest in `dtype`, and the blocks'
    matrices in 8 bits for "float8". Text fusion, time and the two ends stay in `dtype`: they are 5
    percent of the weights, run once a request or are 64 channels wide, and all blocks depend on
    them. Of the blocks the first `resident` stay on the device (None: all), the others wait in
    main memory. Raises KeyError for a tensor that is missing.
    """
    shape = Shape.of(config)

    def typed(name: str) -> torch.Tensor:
        return read(name).to(torch.float32 if _is_norm(name) else dtype)

    with torch.device("meta"):
        rest = Krea2Transformer2DModel(**{**config, "num_layers": 0})
    rest.load_state_dict({name: typed(name) for name in rest.state_dict()}, assign=True)
    rest.requires_grad_(False).eval()
    device = rest.img_in.weight.device
    eight = precision == "float8"
    heads = shape.heads, shape.kv_heads
    kernel = fastest(device, dtype, heads, shape.head_dim, eight=eight)
    between = fastest_pointwise(device, dtype, shape, eight=eight, eight_heads=kernel == "float8")
    make = partial(
        Block,
        shape,
        project=PROJECTIONS[precision],
        attend=partial(attend, kernel=kernel),
        pointwise=between,
    )
    blocks, slots = nn.ModuleList(), list[Block]()
    for index in range(config["num_layers"]):
        within = partial(_within, typed, f"transformer_blocks.{index}.")
        block = make(within)
        if resident is not None and index >= resident:
            if len(slots) < SLOTS:
                slots.append(make(within))
            block = put_away(block)
        blocks.append(block)
    whole = Transformer(rest, blocks)
    return whole if resident is None or not slots else StreamedTransformer(whole, slots, resident)


def reader_of(folder: Path, device: torch.device) -> Read:
    """Read from the safetensors files of `folder`, each tensor when it is asked for.

    Raises OSError or SafetensorError for files that are missing or cut off.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise OSError(f"{folder.name} holds no safetensors files")
    found: dict[str, Any] = {}
    for file in files:
        opened = safe_open(file, framework="pt", device=str(device))
        names: list[str] = opened.keys()  # type: ignore[no-untyped-call] # safetensors is untyped
        found |= dict.fromkeys(names, opened)

    def read(name: str) -> torch.Tensor:
        tensor: torch.Tensor = found[name].get_tensor(name)
        return tensor

    return read


def reader_of_model(model: nn.Module) -> Read:
    """Read from the parameters of a model in memory."""
    return model.state_dict().__getitem__


def _within(read: Read, prefix: str, name: str) -> torch.Tensor:
    return read(prefix + name)


def _is_norm(name: str) -> bool:
    """Whether diffusers keeps the tensor in float32 (`_keep_in_fp32_modules`)."""
    kept = Krea2Transformer2DModel._keep_in_fp32_modules  # noqa: SLF001 - the format's own list
    return any(part in kept for part in name.split("."))
