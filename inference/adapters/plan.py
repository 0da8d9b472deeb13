"""Which layers of a model a LoRA file changes, by which of its tensors, and at which rank.

Made from two headers, the file's and the model's, so the web process can refuse a file before it is
kept. All or nothing: a file of which one tensor has no place is refused, since a LoRA that is
applied in part draws something that nobody trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from inference.adapters.header import Header
from inference.adapters.names import Found, Names, is_dora, is_of_text_encoder
from inference.adapters.refusal import AdapterRefused, some

Layout = Literal["peft", "official", "comfyui", "kohya", "lokr"]
Layers = Mapping[str, tuple[int, int]]  # a model's layers: name → (out, in)

# Of all LoRAs of a picture together. Past it a full matrix would be the cheaper thing to add.
RANK_MAX = 512
# As two small matrices a layer: 4 GiB in 32 bits. A LoKr of a few megabytes can unfold to more.
NUMBERS_MAX = 2**30
MATRIX = 2  # dimensions


@dataclass(frozen=True)
class Half:
    """One factor of a Kronecker product: (rows, columns), whole or as a product of `rank`."""

    rows: int
    columns: int
    rank: int | None = None

    @property
    def least(self) -> int:
        """The rank at which it is written as a product of two without loss."""
        side = min(self.rows, self.columns)
        return side if self.rank is None else min(side, self.rank)


@dataclass(frozen=True)
class Change:
    """One layer's update: the keys of its tensors by role, and the rank that it is applied at."""

    keys: Mapping[str, str]
    rank: int


@dataclass(frozen=True)
class Plan:
    """A whole file, understood."""

    layout: Layout
    changes: Mapping[str, Change] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """The largest of all layers."""
        return max(change.rank for change in self.changes.values())


def make_plan(header: Header, layers: Layers) -> Plan:
    """What the file with `header` does to a model of `layers`. Raises AdapterRefused."""
    found = _find_all(list(header.shapes), layers)
    keys: dict[str, dict[str, str]] = {}
    for key, one in found.items():
        roles = keys.setdefault(one.layer, {})
        if one.role in roles:
            raise AdapterRefused(
                f"{some([roles[one.role], key])} name the same weight of the model: which of them "
                "is meant cannot be told. Save the LoRA under one naming."
            )
        roles[one.role] = key
    changes = {
        layer: Change(roles, _rank(layer, layers[layer], roles, header.shapes))
        for layer, roles in keys.items()
    }
    numbers = sum(change.rank * sum(layers[layer]) for layer, change in changes.items())
    if numbers > NUMBERS_MAX:
        raise AdapterRefused(
            f"Written out, its updates have {numbers:,} numbers, and {NUMBERS_MAX:,} is the most: "
            "train with a lower rank."
        )
    return Plan(_layout(found), changes)


def _find_all(keys: list[str], layers: Layers) -> dict[str, Found]:
    """Every key with what it names; refuses unless each names something."""
    names = Names(layers)
    if any(is_dora(key) for key in keys):
        raise AdapterRefused(
            "This is a DoRA, which cannot be applied at its right strength here: train or save it "
            "as a plain LoRA."
        )
    looked_up = {key: names.find(key) for key in keys}
    found = {key: one for key, one in looked_up.items() if one is not None}
    unknown = [key for key in keys if key not in found]
    of_text = [key for key in unknown if is_of_text_encoder(key)]
    if of_text:
        raise AdapterRefused(
            f"It changes the text encoder too ({some(of_text, 1)}), which stays as it is here: "
            "save the LoRA of the transformer alone."
        )
    if not found:
        told = f" (its first names are {some(keys)})" if keys else ", and holds nothing"
        raise AdapterRefused(
            f"No weight of this model is named in the file{told}: it was made for another model, "
            "or is no LoRA."
        )
    if unknown:
        raise AdapterRefused(
            f"{len(unknown):,} of {len(keys):,} tensors have no place in this model: "
            f"{some(unknown)}. It was made for another model, or is more than a LoRA."
        )
    return found


def _layout(found: Mapping[str, Found]) -> Layout:
    if any(one.role.startswith("lokr") for one in found.values()):
        return "lokr"
    if any(one.prefix.endswith("_") for one in found.values()):
        return "kohya"
    if all(one.naming == "diffusers" for one in found.values()):
        return "peft"
    # Krea's trainer and ComfyUI's write the same prefix, but not the same words behind it.
    return (
        "comfyui"
        if any(key.endswith((".lora_up.weight", ".alpha")) for key in found)
        else "official"
    )


def _rank(
    layer: str,
    size: tuple[int, int],
    keys: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
) -> int:
    """The rank of a layer's update, once its tensors fit together and fit the layer."""
    held = {role: shapes[key] for role, key in keys.items()}
    alpha = held.pop("alpha", ())
    if alpha not in ((), (1,)):
        raise AdapterRefused(f"{keys['alpha']} is no single number: save the LoRA again.")
    if any(len(shape) != MATRIX for shape in held.values()):
        raise AdapterRefused(
            f"{some(list(keys.values()))} are not all matrices; this model has no convolutions, so "
            "the file was made for another one."
        )
    if any(role.startswith("lokr") for role in held):
        rank = _rank_of_lokr(layer, size, held)
    elif set(held) != {"down", "up"}:
        raise AdapterRefused(f"Half of the update of {layer} is missing: fetch the file again.")
    else:
        (rank, inputs), (outputs, same) = held["down"], held["up"]
        if rank != same:
            raise AdapterRefused(f"The two halves of {layer} have ranks {rank} and {same}.")
        _check_size(layer, size, (outputs, inputs))
    if rank < 1:
        raise AdapterRefused(f"The update of {layer} has rank 0: it holds nothing.")
    if rank > RANK_MAX:
        raise AdapterRefused(
            f"The update of {layer} has rank {rank:,}; {RANK_MAX} is the most that can be added "
            "to a picture. Extract a LoRA of a lower rank from it, or train with one."
        )
    return rank


def _rank_of_lokr(layer: str, size: tuple[int, int], held: Mapping[str, tuple[int, ...]]) -> int:
    if "lokr_t2" in held or not {role.split("_")[0] for role in held} == {"lokr"}:
        raise AdapterRefused(f"The LoKr of {layer} has parts for a convolution, or of a LoRA.")
    one, two = (_half(layer, f"lokr_{half}", held) for half in ("w1", "w2"))
    if {0, -1} & {one.rank, two.rank}:
        return 0
    _check_size(layer, size, (one.rows * two.rows, one.columns * two.columns))
    return one.least * two.least


def _half(layer: str, name: str, held: Mapping[str, tuple[int, ...]]) -> Half:
    """A factor that is there whole, or as a product; not both, and not in part."""
    there = {role for role in held if role.startswith(name)}
    if there == {name}:
        return Half(*held[name])
    if there == {f"{name}_a", f"{name}_b"}:
        (rows, rank), (same, columns) = held[f"{name}_a"], held[f"{name}_b"]
        if rank == same:
            return Half(rows, columns, rank)
    raise AdapterRefused(f"The LoKr of {layer} is not whole: fetch the file again.")


def _check_size(layer: str, size: tuple[int, int], given: tuple[int, int]) -> None:
    if given != size:
        raise AdapterRefused(
            f"The update of {layer} is made for {given[1]:,} inputs and {given[0]:,} outputs, and "
            f"this model has {size[1]:,} and {size[0]:,} there: it belongs to another model."
        )
