"""What runs on a GPU alone, as far as it can be judged without one.

Tensors without data ("meta") go through the real modules at Krea 2's real size: a wrong shape,
precision or device raises as it would on the card.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from inference.bench import full_size
from inference.engine.profile import Precision
from inference.engine.render import PipelineEngine
from inference.engine.transformer.attention import Kernel, compute
from inference.engine.transformer.build import build, read_config, reader_of
from inference.engine.transformer.graphs import Stepper
from inference.engine.visit import visiting
from inference.models import Model
from inference.request import GenerationRequest

META = torch.device("meta")
GRID = (64, 64)
APPLE = GenerationRequest("a red apple", "pocket-turbo", 64, 64, images=1, seed=5)


@pytest.mark.parametrize("precision", ["plain", "float8"])
@torch.no_grad()
def test_the_full_size_goes_through_every_module(precision: Precision) -> None:
    read = full_size.reader(full_size.TRANSFORMER, META, torch.bfloat16)
    transformer = build(full_size.TRANSFORMER, read, torch.bfloat16, precision)
    embeds = torch.empty(1, 48, 12, 2560, dtype=torch.bfloat16, device=META)
    latents = torch.empty(1, GRID[0] * GRID[1], 64, dtype=torch.bfloat16, device=META)
    prepared = transformer.prepare(embeds, GRID)
    velocity = transformer.step(latents, prepared, transformer.times([1.0, 0.5]), 1)
    assert (velocity.shape, velocity.dtype) == (latents.shape, torch.bfloat16)
    for projection in ("attention_in", "attention_out", "feed_in", "feed_out"):
        sides = getattr(transformer.blocks[0], projection).weight.shape
        assert all(side % 16 == 0 for side in sides), "8-bit products take nothing else"


@pytest.mark.parametrize("kernel", ["cudnn", "cudnn-repeated", "flash"])
def test_the_kernels_of_a_gpu_are_called_as_this_torch_has_them(kernel: Kernel) -> None:
    query, key, value = (
        torch.empty(1, 37, heads, 128, dtype=torch.bfloat16, device=META) for heads in (48, 12, 12)
    )
    mixed = compute(query, key, value, kernel)
    assert mixed.shape == query.shape
    assert mixed.is_contiguous()


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a step can be recorded")
@torch.no_grad()
def test_a_step_that_cannot_be_recorded_is_drawn_without(weights: Path) -> None:
    folder = weights / "pocket-turbo" / "transformer"
    transformer = build(read_config(folder), reader_of(folder, torch.device("cpu")), torch.float32)
    config = transformer.rest.config
    embeds = torch.randn(1, 7, config.num_text_layers, config.text_hidden_dim)
    latents, times = torch.randn(1, 30, 64), transformer.times([0.9, 0.4])
    prepared = transformer.prepare(embeds, (6, 5))
    plain, recording = Stepper(transformer, records=False), Stepper(transformer, records=True)
    for step in (0, 1, 1):  # the second of a shape is the one to record
        expected = plain(latents, prepared, times, step)
        assert torch.equal(recording(latents, prepared, times, step), expected)


def test_a_visitor_that_the_card_does_not_take_is_home_again() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    homes = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    # Without data there is nothing to lay in the place of what is at home.
    with pytest.raises(RuntimeError), visiting(module, META):
        pytest.fail("the visit began")
    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == homes


def test_blocks_whose_compiled_code_does_not_run_are_run_as_they_are(
    weights: Path,
    turbo: Model,
    draw: Callable[[GenerationRequest, Model], list[bytes]],
) -> None:
    expected = draw(APPLE, turbo)
    engine, said = PipelineEngine(weights), list[str]()
    engine.load(turbo, said.append)
    loaded = engine._of(turbo)  # noqa: SLF001 - a compiler that fails cannot be asked for
    for block in loaded.stepper.transformer.blocks:
        block._compiled_call_impl = broken  # noqa: SLF001 - as above
    engine._warm_up(turbo, said.append)  # noqa: SLF001 - as above
    assert "slower" in said[-1]
    (picture,) = engine.render(APPLE, turbo, lambda _step: None, lambda: False)
    assert [picture.tobytes()] == expected


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("Internal Triton PTX codegen error")
