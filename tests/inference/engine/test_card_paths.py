"""What runs on a GPU alone, as far as it can be judged without one.

Tensors without data ("meta") go through the real modules at Krea 2's real size: a wrong shape,
precision or device raises as it would on the card.
"""

from pathlib import Path

import pytest
import torch
from torch import nn

from inference.bench import full_size
from inference.engine.profile import Precision
from inference.engine.transformer.attention import Kernel, attend
from inference.engine.transformer.build import build, read_config, reader_of
from inference.engine.transformer.graphs import Stepper
from inference.engine.visit import visiting

META = torch.device("meta")
GRID = (64, 64)


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
    mixed = attend(query, key, value, 37, kernel=kernel)
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
