"""LoRAs in the transformer that serves: there for one request, gone after it.

Decision: a LoRA is a branch of two narrow matrix products beside each projection, never a change of
the weights. Rejected: merging it into the weights. In bfloat16 a second copy of 24 GB would be
needed to get the first one back to the bit; in 8 bits an update of a percent falls between two
neighbouring numbers; and streamed blocks would have to be merged in main memory. A branch leaves
the weights alone in every profile, so a request without LoRAs runs the code and gives the bytes
that it always did.

All LoRAs of a request are stacked into one branch a projection: ranks side by side, padded with
zeros to a power of two, strengths and alphas multiplied into the upper half in float32. The rank is
a function of the request alone and LoRAs are stacked by their hashes, so neither the order in
which they were named nor what was drawn before changes a byte. On a card the branches are
tensors that stay: switching writes over them, so recorded steps remain. A layer
that no LoRA touches gets zeros, which costs its narrow products and keeps one recording for all.

Layers outside the blocks (text fusion, time, the two ends) get the same by hooks, which are taken
off again. What the text encoder says is the same with and without LoRAs.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from inference.adapters.plan import RANK_MAX
from inference.adapters.refusal import AdapterRefused
from inference.adapters.tensors import Adapter, Factors
from inference.engine.ranks import Ranks
from inference.engine.transformer.block import Float8Projection, Projection
from inference.engine.transformer.choice import fastest_add
from inference.engine.transformer.graphs import Stepper
from inference.engine.transformer.low_rank import BlockBranches, Branch, add_to_linear

RANK_MIN = 16  # narrower products are no faster
SETS_MAX = 2  # ranks for which branches and recordings are kept; the longest unused goes first

Mix = Sequence[tuple[Adapter, float]]  # LoRAs with their strengths
Place = tuple[Branch, int, int]  # a branch, which of its parts, and where that begins in `up`

# Diffusers' layers of a block: the projection that holds each, and which part of it.
_PLACES = {
    "attn.to_q": ("attention_in", 0),
    "attn.to_k": ("attention_in", 1),
    "attn.to_v": ("attention_in", 2),
    "attn.to_gate": ("attention_in", 3),
    "attn.to_out.0": ("attention_out", 0),
    "ff.gate": ("feed_in", 0),
    "ff.up": ("feed_in", 1),
    "ff.down": ("feed_out", 0),
}


@dataclass
class BranchSet:
    """Branches of one rank for every layer of a transformer."""

    blocks: list[BlockBranches]
    rest: dict[str, Branch]
    places: Mapping[str, Place]  # by layer; of every layer
    holds: tuple[tuple[str, float], ...] = ()  # the mix that was last written, by hash

    def tensors(self) -> list[torch.Tensor]:
        """All halves, in an order that every process has."""
        each = {id(branch.down): branch for branch, _, _ in self.places.values()}
        return [half for branch in each.values() for half in (branch.down, branch.up)]


class Branches:
    """Applies LoRAs to the transformer of `stepper`. For the thread that draws."""

    def __init__(self, stepper: Stepper, ranks: Ranks | None = None) -> None:
        """Make nothing yet: branches are made for the first LoRA of a rank.

        `ranks` are the processes that draw with this one and need the same branches.
        """
        self._stepper = stepper
        self._ranks = ranks
        self._transformer = stepper.transformer
        self._linears = {
            name: module
            for name, module in self._transformer.rest.named_modules()
            if isinstance(module, nn.Linear)
        }
        self._sets: OrderedDict[int, BranchSet] = OrderedDict()
        # What a LoRA can change: diffusers' name → (out, in).
        self.layers = {name: (w.shape[0], w.shape[1]) for name, w in self._weights().items()}

    @contextmanager
    def applied(self, mix: Mix) -> Iterator[None]:
        """Draw with the LoRAs of `mix` within the block, and as ever after it, however it ends.

        Raises AdapterRefused if their ranks add up to too much, OutOfMemory by its caller.
        """
        mix = sorted(((a, s) for a, s in mix if s != 0), key=lambda one: (one[0].sha256, one[1]))
        if not mix:
            yield
            return
        rank = self._rank(mix)
        with self.attached(rank) as made, ExitStack() as after:
            self._write(made, mix)
            if self._ranks is not None:
                after.enter_context(self._ranks.attached(rank, made.tensors()))
            yield

    @contextmanager
    def attached(self, rank: int) -> Iterator[BranchSet]:
        """Draw with branches of `rank` within the block, whatever is written into them."""
        with ExitStack() as after:
            after.callback(self._detach)
            if not self._stepper.records:
                after.callback(self.forget)  # nothing refers to them, and memory may be short
            made = self._set(rank)
            for name, branch in made.rest.items():
                after.callback(_attach(self._linears[name], branch).remove)
            self._transformer.branches = made.blocks
            yield made

    def nothing(self) -> Mix:
        """A LoRA that adds nothing: to make ready before the first what they all need."""
        layer, (outputs, inputs) = next(iter(self.layers.items()))
        factors = Factors(torch.zeros(1, inputs), torch.zeros(outputs, 1), 1.0)
        return [(Adapter("", {layer: factors}), 1.0)]

    def forget(self) -> None:
        """Give up the memory of all branches, and the recordings that use them."""
        for rank in self._sets:
            self._stepper.forget(rank)
        self._sets.clear()

    def _detach(self) -> None:
        self._transformer.branches = None

    def _weights(self) -> dict[str, torch.Tensor]:
        """Each layer's part of the weights, in whatever precision, fused or not."""
        found: dict[str, torch.Tensor] = {}
        for index, block in enumerate(self._transformer.blocks):
            for layer, (projection, part) in _PLACES.items():
                module = getattr(block, projection)
                parts = torch.split(module.weight, module.parts)
                found[f"transformer_blocks.{index}.{layer}"] = parts[part]
        return found | {name: module.weight for name, module in self._linears.items()}

    def _rank(self, mix: Mix) -> int:
        sums: dict[str, int] = {}
        for adapter, _ in mix:
            for layer, factors in adapter.factors.items():
                sums[layer] = sums.get(layer, 0) + factors.rank
        most = max(sums.values())
        if most > RANK_MAX:
            raise AdapterRefused(
                f"The ranks of these LoRAs add up to {most:,}, and {RANK_MAX} is the most at once: "
                "take fewer of them."
            )
        return max(RANK_MIN, 1 << (most - 1).bit_length())

    def _set(self, rank: int) -> BranchSet:
        if rank not in self._sets:
            while len(self._sets) >= SETS_MAX:
                gone, _ = self._sets.popitem(last=False)
                self._stepper.forget(gone)
            self._sets[rank] = self._make(rank)
        self._sets.move_to_end(rank)
        return self._sets[rank]

    def _make(self, rank: int) -> BranchSet:
        """Zeros for every layer at `rank`."""
        transformer = self._transformer
        zeros = partial(torch.zeros, device=transformer.device)

        def beside(projection: Projection | Float8Projection) -> Branch:
            outputs, inputs = projection.weight.shape
            ranks = len(projection.parts) * rank
            down = zeros(ranks, inputs, dtype=projection.weight.dtype)
            up = zeros(outputs, ranks, dtype=transformer.dtype)
            add = fastest_add(transformer.device, transformer.dtype, projection.parts)
            return Branch(down, up, rank, projection.parts, projection.columns, add)

        def beside_linear(linear: nn.Linear) -> Branch:
            typed = partial(zeros, dtype=transformer.dtype)
            down, up = typed(rank, linear.in_features), typed(linear.out_features, rank)
            return Branch(down, up, rank, [linear.out_features])

        blocks, places = list[BlockBranches](), dict[str, Place]()
        for index, block in enumerate(transformer.blocks):
            made = {name: beside(getattr(block, name)) for name in BlockBranches._fields}
            blocks.append(BlockBranches(**made))
            for layer, (name, part) in _PLACES.items():
                begins = sum(getattr(block, name).parts[:part])
                places[f"transformer_blocks.{index}.{layer}"] = made[name], part, begins
        rest = {name: beside_linear(linear) for name, linear in self._linears.items()}
        return BranchSet(blocks, rest, places | {name: (b, 0, 0) for name, b in rest.items()})

    def _write(self, made: BranchSet, mix: Mix) -> None:
        asked = tuple((adapter.sha256, strength) for adapter, strength in mix)
        if made.holds == asked:
            return
        made.holds = ()  # until all is written: an error on the way must not be taken for it
        for branch, _, _ in made.places.values():
            branch.clear()
        for layer, (branch, part, begins) in made.places.items():
            first = 0
            for adapter, strength in mix:
                factors = adapter.factors.get(layer)
                if factors is not None:
                    _copy(factors, strength, branch, (part, begins, first))
                    first += factors.rank
        made.holds = asked


def _copy(factors: Factors, strength: float, branch: Branch, place: tuple[int, int, int]) -> None:
    """Write one LoRA's halves: to which part, from which row of `up` and which rank on."""
    device = branch.down.device
    down = factors.down.to(device, non_blocking=True)
    up = factors.up.to(device, non_blocking=True).float() * (factors.scale * strength)
    branch.write(down, up, place)


def _attach(linear: nn.Linear, branch: Branch) -> "torch.utils.hooks.RemovableHandle":
    def add(_module: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> torch.Tensor:
        add_to_linear(out, given[0], branch)
        return out

    return linear.register_forward_hook(add)
