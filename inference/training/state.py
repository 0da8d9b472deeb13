"""What a run is stopped and resumed with: a tree of tensors and numbers, on disk in small shards.

A state is written whole beside the old one and then takes its name, so a crash at any moment leaves
one that can be read. The trainers decide what is in it; they call `save_state` and `load_state`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

# A shard never exceeds 15 MB unless one tensor alone does.
SHARD_BYTES = 15_000_000


def save_state(folder: Path, tree: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, numbers, strings and tensors so that a crash leaves one whole.

    The new state is written beside the old one and then takes its name.
    """
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    tensors: dict[str, Tensor] = {}
    meta = _pick_tensors(tree, "", tensors)
    shard: dict[str, Tensor] = {}
    filled, number = 0, 0
    for name, tensor in tensors.items():
        if shard and filled + tensor.nbytes > SHARD_BYTES:
            save_file(shard, fresh / f"shard-{number:04}.safetensors")
            shard, filled, number = {}, 0, number + 1
        shard[name] = tensor
        filled += tensor.nbytes
    save_file(shard, fresh / f"shard-{number:04}.safetensors")
    (fresh / "meta.json").write_text(json.dumps(meta))
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_state(folder: Path) -> dict[str, Any] | None:
    """The tree last saved under `folder`, tensors on the CPU; None when there is none."""
    whole = folder if folder.exists() else folder.with_name(folder.name + ".old")
    if not (whole / "meta.json").exists():
        return None
    tensors: dict[str, Tensor] = {}
    for shard in sorted(whole.glob("shard-*.safetensors")):
        tensors.update(load_file(shard))
    tree: dict[str, Any] = _put_tensors(json.loads((whole / "meta.json").read_text()), tensors)
    return tree


def _pick_tensors(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        tensors[name] = tree.detach().cpu().contiguous()
        return {"$tensor": name}
    if isinstance(tree, dict):
        pairs = [
            [key, _pick_tensors(value, f"{name}/{key}", tensors)] for key, value in tree.items()
        ]
        return {"$dict": pairs}
    if isinstance(tree, (list, tuple)):
        return [_pick_tensors(value, f"{name}/{i}", tensors) for i, value in enumerate(tree)]
    return tree


def _put_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, dict):
        if "$tensor" in tree:
            return tensors[tree["$tensor"]].clone()
        return {key: _put_tensors(value, tensors) for key, value in tree["$dict"]}
    if isinstance(tree, list):
        return [_put_tensors(value, tensors) for value in tree]
    return tree
