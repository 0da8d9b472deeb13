"""`python -m inference.bench`: stock diffusers and our engine in turns, as tables.

On a CPU with the pocket model's weights, on a GPU with random weights of the full size, in both
precisions and in the memory profiles. The tables are printed and appended to the file that
`--append` names, with the machine's ceilings. `--write FOLDER` writes such weights to the disk
instead: `benchmarks/waiting.py` draws with them through the real queue.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from diffusers import Krea2Pipeline

from inference import models
from inference.bench import details, full_size, profiles
from inference.bench.ceilings import ceilings
from inference.bench.loras import HEAD as LORA_HEAD
from inference.bench.loras import lora_row
from inference.bench.timing import clear, in_turns
from inference.bench.whole import Finishing, median_of, run
from inference.engine.device import ON_CPU, Device, pick
from inference.engine.loaded import Loaded, assemble, make_ready
from inference.engine.profile import Precision, Profile
from inference.engine.render import PipelineEngine
from inference.engine.transformer.build import build
from inference.models import Model
from inference.request import GenerationRequest

PROMPT = "a red apple, flat style, on a blue background"
SECONDS_MAX = 100  # a size of one contender; a large one gets fewer rounds
STOCK_SECONDS_MAX = 30
HEAD = "| precision | side | stock | ours, whole | encode | denoise | decode | files | times | n |"


@dataclass(frozen=True)
class Machine:
    """What is measured here: how to make ours in a precision, and stock diffusers."""

    model: Model
    sides: list[int]
    precisions: list[Precision]
    ours: Callable[[Precision], Loaded]
    stock: Callable[[Loaded], Krea2Pipeline]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print, append."""
    parser = argparse.ArgumentParser(prog="python -m inference.bench", description=__doc__)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--sides", type=int, nargs="+")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--append", type=Path, help="for example docs/performance.md")
    parser.add_argument("--write", type=Path, help="write random weights of the full size there")
    options = parser.parse_args(argv)
    if options.write:
        full_size.write(options.write, options.weights / "pocket-turbo")
        return
    on_card = torch.cuda.is_available()
    machine = _card(options.weights) if on_card else _processor(options.weights)
    lines = []
    for line in _measure(machine, options.sides or machine.sides, options.runs):
        print(line, flush=True)
        lines.append(line)
    if options.append:
        name = pick(machine.model).name
        with options.append.open("a") as file:
            file.write(f"\n## {name}\n\n" + "\n".join(lines) + "\n")


def _measure(machine: Machine, sides: list[int], runs: int) -> Iterator[str]:
    found = ", ".join(f"{value:.4g} {name}" for name, value in ceilings().items())
    yield f"torch {torch.__version__}; ceilings: {found}. Seconds, medians of n."
    stock_seconds: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        finishing = Finishing(Path(folder))
        for precision in machine.precisions:
            engine, loaded = PipelineEngine(Path(folder)), machine.ours(precision)
            engine.adopt(loaded)
            if not stock_seconds:
                stock = machine.stock(loaded)
                stock_seconds = {side: _stock(stock, machine.model, side, runs) for side in sides}
                del stock
                clear()
            yield from ["", HEAD, "|---" * 10 + "|"]
            bench = Bench(engine, machine.model, finishing, runs)
            for side in sides:
                yield bench.row(precision, side, stock_seconds[side])
            yield from ["", *details.lines(engine, machine.model, sides[0])]
            yield from ["", LORA_HEAD, "|---" * 6 + "|"]
            yield lora_row(loaded.stepper, loaded.branches, sides[0], runs)
            del engine, loaded, bench
            clear()
        if torch.cuda.is_available():
            yield from ["", profiles.HEAD, "|---" * 6 + "|"]
            yield from profiles.rows(machine.model, Path(folder), PROMPT)


@dataclass(frozen=True)
class Bench:
    """Our engine with a model in it, and how often a picture is made."""

    engine: PipelineEngine
    model: Model
    finishing: Finishing
    runs: int

    def row(self, precision: Precision, side: int, stock: float) -> str:
        """One line of the table under `HEAD`; `stock` is what diffusers takes."""
        request = GenerationRequest(PROMPT, self.model.id, side, side, images=1, seed=1)
        make = partial(run, self.engine, self.model, request, self.finishing)
        ours, count = median_of(make, self.runs, SECONDS_MAX)
        phases = " | ".join(
            f"{p:.3f}" for p in (ours.encode, ours.denoise, ours.decode, ours.files)
        )
        times = f"{stock / ours.whole:.2f}"
        return (
            f"| {precision} | {side} | {stock:.3f} | **{ours.whole:.3f}** | {phases} | {times} "
            f"| {count} |"
        )


def _stock(stock: Krea2Pipeline, model: Model, side: int, runs: int) -> float:
    """Median seconds of diffusers' own pipeline, which neither judges nor writes."""

    def draw() -> object:
        return stock(
            PROMPT,
            width=side,
            height=side,
            num_inference_steps=model.steps,
            guidance_scale=model.guidance,
            generator=torch.Generator(stock.device).manual_seed(1),
        )

    return in_turns({"stock": draw}, runs, seconds_max=STOCK_SECONDS_MAX)["stock"].median


def _processor(weights: Path) -> Machine:
    model = models.find("pocket-turbo")
    folder = models.locate(model, weights)
    assert folder is not None, f"{weights} holds no pocket-turbo"

    def stock(_ours: Loaded) -> Krea2Pipeline:
        pipeline = Krea2Pipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    ours = partial(assemble, model, folder, pick(model), ON_CPU)
    return Machine(model, [256, 512], ["plain"], lambda _precision: ours(), stock)


def _card(weights: Path) -> Machine:
    model = replace(models.find("krea-2-turbo"), needs_gpu=False)
    device = Device("cuda", torch.bfloat16, torch.cuda.get_device_name())
    read = full_size.reader(full_size.TRANSFORMER, torch.device("cuda"), device.dtype)

    def ours(precision: Precision) -> Loaded:
        transformer = build(full_size.TRANSFORMER, read, device.dtype, precision)
        parts = full_size.pipeline(weights / "pocket-turbo", torch.device("cuda"))
        profile = Profile(precision, encoder_stays=True, resident_blocks=None, sentence="")
        return make_ready(model, device, profile, transformer, parts)

    def stock(loaded: Loaded) -> Krea2Pipeline:
        theirs = full_size.stock_transformer(full_size.TRANSFORMER, read, device.dtype)
        return full_size.stock_pipeline(loaded.pipeline, theirs)

    return Machine(model, [1024, 512, 2048], ["plain", "float8"], ours, stock)


if __name__ == "__main__":
    main()
