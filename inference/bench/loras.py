"""What LoRAs cost: how long a switch among eight takes, and a step with one against a step without.

With random numbers of rank 32 on every layer: speed does not depend on what they say. Reading a
file for the first time is not counted; the worker does it beside the picture before.
"""

import statistics
from functools import partial

import torch

from inference.adapters.kept import ready_to_copy
from inference.adapters.tensors import Adapter, Factors
from inference.bench.timing import in_turns, timed
from inference.engine.branches import Branches, Mix
from inference.engine.steps import PATCH
from inference.engine.transformer.graphs import Stepper

LORAS = 8
RANK = 32
TEXT_TOKENS = 48
WARM_UPS = 3  # a step as it is, one recorded, one from the recording

HEAD = "| side | switch among 8 | step without | with one | costs | with two |"


def lora_row(stepper: Stepper, branches: Branches, side: int, runs: int) -> str:
    """One line of a table under `HEAD`, for a square picture of `side` pixels; medians of `runs`.

    The switch is the slowest of the eight.
    """
    loras = [_random(branches, seed) for seed in range(LORAS)]
    switches = {lora.sha256: partial(_switch, branches, [(lora, 1.0)]) for lora in loras}
    switch = max(timing.median for timing in in_turns(switches, runs).values())
    mixes: list[Mix] = [[], [(loras[0], 1.0)], [(loras[0], 0.7), (loras[1], 0.5)]]
    without, one, two = _steps(stepper, branches, mixes, side, runs)
    return (
        f"| {side} | {1000 * switch:.1f} ms | {1000 * without:.1f} ms | {1000 * one:.1f} ms "
        f"| {100 * (one / without - 1):+.1f} % | {1000 * two:.1f} ms |"
    )


def _random(branches: Branches, seed: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) / 100).bfloat16()

    factors = {
        layer: Factors(draw(RANK, inputs), draw(outputs, RANK), 1.0)
        for layer, (outputs, inputs) in branches.layers.items()
    }
    return ready_to_copy(Adapter(f"{seed:064x}", factors))


def _switch(branches: Branches, mix: Mix) -> None:
    with branches.applied(mix):
        pass


@torch.no_grad()
def _steps(
    stepper: Stepper, branches: Branches, mixes: list[Mix], side: int, runs: int
) -> list[float]:
    """Median seconds of a step with each of `mixes`, taken in turns and without the switches."""
    transformer = stepper.transformer
    config = transformer.rest.config
    tokens = side // PATCH
    generator = torch.Generator(transformer.device).manual_seed(0)
    # Not zeros: a card multiplies those faster.
    draw = partial(
        torch.randn, device=transformer.device, dtype=transformer.dtype, generator=generator
    )
    text = draw(1, TEXT_TOKENS, config.num_text_layers, config.text_hidden_dim)
    latents = draw(1, tokens * tokens, config.in_channels)
    taken: list[list[float]] = [[] for _ in mixes]
    for turn in range(WARM_UPS + runs):
        for mix, seconds in zip(mixes, taken, strict=True):
            with branches.applied(mix):
                prepared = transformer.prepare(text, (tokens, tokens))
                times = transformer.times([0.9])
                spent, _ = timed(partial(stepper, latents, prepared, times, 0))
            if turn >= WARM_UPS:
                seconds.append(spent)
    return [statistics.median(seconds) for seconds in taken]
