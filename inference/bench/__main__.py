"""`python -m inference.bench`: stock diffusers and our engine in turns, as one table.

On a CPU with the pocket model's weights, on a GPU with random weights of the full size. The table
is printed and appended to the file that `--append` names, with the machine's ceilings.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from diffusers import Krea2Pipeline

from inference import models
from inference.bench import full_size
from inference.bench.ceilings import ceilings
from inference.bench.timing import Timing, clear, in_turns
from inference.engine.device import Device, pick
from inference.engine.profile import Precision, Profile
from inference.engine.render import PipelineEngine, make_ready
from inference.engine.transformer.build import build
from inference.models import Model
from inference.request import GenerationRequest

PROMPT = "a red apple, flat style, on a blue background"
SECONDS_MAX = 90  # a size; a large one gets fewer rounds


@dataclass(frozen=True)
class Contender:
    """One way to draw: a name and what draws a square picture of a side."""

    name: str
    draw: Callable[[int], object]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print, append."""
    parser = argparse.ArgumentParser(prog="python -m inference.bench", description=__doc__)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--sides", type=int, nargs="+")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--precision", choices=["plain", "float8"], default="plain")
    parser.add_argument("--append", type=Path, help="for example docs/performance.md")
    options = parser.parse_args(argv)
    on_card = torch.cuda.is_available()
    sides = options.sides or ([512, 1024, 2048] if on_card else [256, 512])
    lines = [_ceilings_line(), "", "| side | stock | ours | times faster |"]
    lines.append("|---|---|---|---|")
    if on_card:
        stock, ours = _full_size(options.weights, options.precision)
    else:
        stock, ours = _pocket(options.weights)
    for side in sides:
        works = {each.name: partial(each.draw, side) for each in (stock, ours)}
        lines.append(_row(side, in_turns(works, options.runs, seconds_max=SECONDS_MAX)))
        clear()
    text = "\n".join(lines)
    print(text)
    if options.append:
        with options.append.open("a") as file:
            file.write(f"\n## {pick(models.find('pocket-turbo')).name}\n\n{text}\n")


def _ceilings_line() -> str:
    found = ", ".join(f"{value:.4g} {name}" for name, value in ceilings().items())
    return f"torch {torch.__version__}; ceilings: {found}."


def _row(side: int, timings: dict[str, Timing]) -> str:
    stock, ours = timings["stock"], timings["ours"]
    return f"| {side} | {stock} | {ours} | {stock.median / ours.median:.2f} |"


def _pocket(weights: Path) -> tuple[Contender, Contender]:
    model = models.find("pocket-turbo")
    engine = PipelineEngine(weights)
    engine.load(model, print)
    folder = models.locate(model, weights)
    stock = Krea2Pipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    return _contenders(stock, engine, model)


def _full_size(weights: Path, precision: Precision) -> tuple[Contender, Contender]:
    model = replace(models.find("krea-2-turbo"), needs_gpu=False)
    device = Device("cuda", torch.bfloat16, torch.cuda.get_device_name())
    read = full_size.reader(full_size.TRANSFORMER, torch.device("cuda"), device.dtype)
    parts = full_size.pipeline(weights / "pocket-turbo", torch.device("cuda"))
    transformer = build(full_size.TRANSFORMER, read, device.dtype, precision)
    engine = PipelineEngine(weights)
    profile = Profile(precision, encoder_stays=True, resident_blocks=None, sentence="")
    engine.adopt(make_ready(model, device, profile, transformer, parts))
    theirs = full_size.stock_transformer(full_size.TRANSFORMER, read, device.dtype)
    return _contenders(full_size.stock_pipeline(parts, theirs), engine, model)


def _contenders(
    stock: Krea2Pipeline, engine: PipelineEngine, model: Model
) -> tuple[Contender, Contender]:
    def draw_stock(side: int) -> object:
        return stock(
            PROMPT,
            width=side,
            height=side,
            num_inference_steps=model.steps,
            guidance_scale=model.guidance,
            generator=torch.Generator(stock.device).manual_seed(1),
        )

    def draw_ours(side: int) -> object:
        engine.texts.clear()  # a prompt that nobody asked for before
        request = GenerationRequest(PROMPT, model.id, side, side, images=1, seed=1)
        return engine.render(request, model, lambda _step: None, lambda: False)

    return Contender("stock", draw_stock), Contender("ours", draw_ours)


if __name__ == "__main__":
    main()
