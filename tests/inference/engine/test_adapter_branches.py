"""The branches that LoRAs are drawn through, in every form that a transformer is run in."""

from collections.abc import Callable

import pytest
import torch
from lora_layouts import ROOT
from torch import Tensor

from inference.adapters.tensors import Adapter, Factors
from inference.engine.branches import Branches, Mix
from inference.engine.profile import Precision
from inference.engine.transformer.build import build, read_config, reader_of
from inference.engine.transformer.graphs import Stepper
from inference.engine.transformer.model import Transformer

FOLDER = ROOT / "weights" / "pocket-turbo" / "transformer"
CONFIG = {**read_config(FOLDER), "num_layers": 2}
READ = reader_of(FOLDER, torch.device("cpu"))

Evaluate = Callable[[Mix], Tensor]


def evaluator(transformer: Transformer) -> Evaluate:
    """The velocity of one step with LoRAs, for the same noise and text each time."""
    branches = Branches(Stepper(transformer, records=False))
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 30, 64, generator=generator).to(transformer.dtype)
    embeds = torch.randn(1, 7, 12, CONFIG["text_hidden_dim"], generator=generator)

    @torch.no_grad()
    def evaluate(mix: Mix) -> Tensor:
        with branches.applied(mix):
            prepared = transformer.prepare(embeds, (6, 5))
            return transformer.step(latents, prepared, transformer.times([0.9, 0.4]), 1).float()

    return evaluate


def lora(seed: int, rank: int) -> Adapter:
    """On every layer there is."""
    generator = torch.Generator().manual_seed(seed)
    layers = Branches(Stepper(build(CONFIG, READ, torch.float32), records=False)).layers
    factors = {
        layer: Factors(
            torch.randn(rank, inputs, generator=generator) / inputs**0.5,
            torch.randn(outputs, rank, generator=generator) / 8,
            0.5,
        )
        for layer, (outputs, inputs) in layers.items()
    }
    return Adapter(f"{seed:064x}", factors)


def merged(mix: Mix) -> Transformer:
    """A transformer whose weights hold the LoRAs: what branches must amount to."""

    def read(name: str) -> Tensor:
        weight = READ(name).float()
        for adapter, strength in mix:
            factors = adapter.factors.get(name.removesuffix(".weight"))
            if factors is not None and name.endswith(".weight"):
                weight = weight + factors.up @ factors.down * (factors.scale * strength)
        return weight

    return build(CONFIG, read, torch.float32)


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


MIX = [(lora(1, 4), 0.7), (lora(2, 20), -0.4)]


def test_branches_amount_to_weights_that_hold_the_loras() -> None:
    ours = evaluator(build(CONFIG, READ, torch.float32))(MIX)
    assert difference(ours, evaluator(merged(MIX))([])) <= 1e-5


def test_streamed_blocks_take_the_branches_of_their_own_place() -> None:
    whole = evaluator(build(CONFIG, READ, torch.float32))
    streamed = evaluator(build(CONFIG, READ, torch.float32, resident=0))
    for mix in (MIX, [], MIX[:1]):
        assert torch.equal(streamed(mix), whole(mix))


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("plain", 0.02), ("float8", 0.08)], ids=["bfloat16", "float8"]
)
def test_in_fewer_bits_they_add_nearly_the_same_and_leave_no_trace(
    precision: Precision, tolerance: float
) -> None:
    few = evaluator(build(CONFIG, READ, torch.bfloat16, precision))
    plain = few([])
    assert difference(few(MIX), evaluator(merged(MIX))([])) <= tolerance
    assert torch.equal(few([]), plain)
