"""A LoRA file as numbers: two small matrices a layer, and what their product is multiplied by.

LoKr, a Kronecker product, is written as such a pair too, without loss: the halves of
(A B) ⊗ (C D) are A ⊗ C and B ⊗ D, and a factor that is stored whole is itself times the identity.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from inference.adapters.alphas import Alphas, read_alphas
from inference.adapters.header import read_checked
from inference.adapters.plan import Change, Layers, make_plan
from inference.adapters.refusal import AdapterRefused


@dataclass(frozen=True)
class Factors:
    """The update of one layer: `up @ down * scale`."""

    down: Tensor  # (rank, in)
    up: Tensor  # (out, rank)
    scale: float

    @property
    def rank(self) -> int:
        """How many rows and columns they share."""
        return self.down.shape[0]


@dataclass(frozen=True)
class Adapter:
    """A LoRA in main memory, at the model's own names."""

    sha256: str
    factors: Mapping[str, Factors]

    @property
    def nbytes(self) -> int:
        """What it takes of main memory."""
        return sum(each.down.nbytes + each.up.nbytes for each in self.factors.values())


def read(path: Path, layers: Layers, sha256: str | None = None) -> Adapter:
    """The LoRA in `path` for a model of `layers`; `sha256` is what the file should have.

    Raises AdapterRefused.
    """
    header = read_checked(path)
    plan = make_plan(header, layers)
    alphas = read_alphas(header.metadata)
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (OSError, SafetensorError) as error:
        raise AdapterRefused("The LoRA file cannot be read: upload it again.") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 not in (None, found):
        raise AdapterRefused("The LoRA file is not what it was when it came: upload it again.")
    factors = {
        layer: _factors(layer, change, tensors, alphas) for layer, change in plan.changes.items()
    }
    if not any(bool(each.up.any()) and bool(each.down.any()) for each in factors.values()):
        raise AdapterRefused(
            "Every update in the file is zero: it was saved before it was trained."
        )
    return Adapter(found, factors)


def _factors(layer: str, change: Change, tensors: Mapping[str, Tensor], alphas: Alphas) -> Factors:
    held = {role: _number(key, tensors) for role, key in change.keys.items()}
    alpha = held.pop("alpha", None)
    if "down" in held:
        down, up = held["down"], held["up"]
        own_rank: int | None = len(down)
    else:
        down, up, own_rank = _of_lokr(held)
    if alpha is not None and own_rank is not None:
        scale = float(alpha) / own_rank
    else:
        # A LoKr of two whole factors has no rank, and trainers then leave alpha out of account.
        scale = alphas.scale(layer, own_rank) if own_rank is not None else 1.0
    if not math.isfinite(scale):
        raise AdapterRefused(f"The alpha of {layer} is no number: save the LoRA again.")
    return Factors(down, up, scale)


def _number(key: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """A tensor in at least 16 bits, all of whose numbers are numbers."""
    tensor = tensors[key]
    if tensor.element_size() == 1:
        tensor = tensor.bfloat16()  # holds every float of 8 bits as it is
    elif tensor.dtype == torch.float64:
        tensor = tensor.float()
    if not bool(tensor.isfinite().all()):
        raise AdapterRefused(
            f"{key} holds what is no number (NaN or infinite): the training went wrong. Take an "
            "earlier save."
        )
    return tensor


def _of_lokr(held: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, int | None]:
    """Down, up and the rank that alpha is counted against (that of the second factor first)."""
    (left, right), (below, behind) = (_halves(held, f"lokr_{name}") for name in ("w1", "w2"))
    ranks = [len(held[name]) for name in ("lokr_w2_b", "lokr_w1_b") if name in held]
    down, up = torch.kron(right, behind), torch.kron(left, below)
    return down, up, ranks[0] if ranks else None


def _halves(held: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """A factor as the product of two, at the least rank at which nothing is lost."""
    if name in held:
        whole = held[name].float()
    else:
        left, right = held[f"{name}_a"].float(), held[f"{name}_b"].float()
        if len(right) <= min(len(left), right.shape[1]):
            return left, right
        whole = left @ right
    rows, columns = whole.shape
    identity = torch.eye(min(rows, columns))
    return (identity, whole) if rows <= columns else (whole, identity)
