"""A LoRA file made smaller and milder: each layer's update cut to a low rank, and scaled.

An adapter that was trained at a high rank keeps most of its effect at half of it, and one that was
trained hard draws better at part of its strength. Both are done once, to the file, so that strength
1 is the one to use and the file is small. The release step calls this module.
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
METADATA_KEY = "lora_adapter_metadata"


def cut(source: Path, target: Path, *, rank: int, strength: float) -> float:
    """Write the adapter in `source` to `target` at the rank and strength given.

    Each update B A is replaced by the nearest of that rank (its largest singular values), times
    `strength`. Returns the share of the updates' energy that the cut lost, averaged over layers.
    """
    with safe_open(source / WEIGHTS_FILE, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - it is no dict
    result: dict[str, Tensor] = {}
    lost = []
    for name, down in tensors.items():
        if "lora_A" not in name:
            continue
        other = name.replace("lora_A", "lora_B")
        down_cut, up_cut, share = _nearest(down, tensors[other] * strength, rank)
        result[name], result[other] = down_cut.half(), up_cut.half()
        lost.append(share)
    settings = json.loads(metadata[METADATA_KEY])
    # Alpha equals the rank, so that loaders multiply by one.
    settings |= {"transformer.r": rank, "transformer.lora_alpha": rank}
    metadata[METADATA_KEY] = json.dumps(settings)
    target.mkdir(parents=True, exist_ok=True)
    save_file(result, target / WEIGHTS_FILE, metadata=metadata)
    return sum(lost) / len(lost)


def _nearest(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """Factors of the rank-`rank` matrix nearest to up @ down, and the share of energy lost."""
    left, values, right = torch.linalg.svd(up @ down, full_matrices=False)
    missing = max(0, rank - len(values))
    left, right = functional.pad(left, (0, missing)), functional.pad(right, (0, 0, 0, missing))
    values = functional.pad(values, (0, missing))
    root = values[:rank].sqrt()
    share = (values[rank:].square().sum() / values.square().sum()).item()
    return (
        (root[:, None] * right[:rank]).contiguous(),
        (left[:, :rank] * root).contiguous(),
        share,
    )
