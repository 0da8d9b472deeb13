"""Stock diffusers and our engine side by side on this machine, same weights, prompt and seeds.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/engine.py --model pocket-turbo --sides 256 512

The two alternate, so that whatever else the machine does falls on both. Prints medians of wall time
and of processor time (which does not count waiting for other programs), the largest difference of
a pixel between the two, the parts of our time, and the peak of memory with only our engine loaded.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import Krea2Pipeline
from PIL.Image import Image

from inference import models
from inference.engine.preview import fit
from inference.engine.render import PipelineEngine
from inference.models import Model
from inference.request import GenerationRequest
from inference.safety.image import ImageFilter

PROMPT = "a red apple, flat style, on a blue background"


@dataclass(frozen=True)
class Timing:
    """Medians over the runs, in seconds."""

    wall: float
    processor: float


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--model", default="pocket-turbo")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    model = models.find(options.model)
    engine = PipelineEngine(options.weights)
    loading = _median([lambda: PipelineEngine(options.weights).load(model, print)], 3)[0]
    engine.load(model, print)
    print(f"load, libraries imported: {loading.wall:.2f} s wall, {loading.processor:.2f} s CPU")
    for side in options.sides:
        _draw(engine, model, side, 0)
    four = _median([lambda: _draw(engine, model, 256, 0, images=4)], 3)[0]
    print(
        f"one request of 4 pictures at 256 px: {four.wall:.2f} s wall, {four.processor:.2f} s CPU"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of our engine up to {max(options.sides)} px: {peak:.2f} GiB")
    stock = Krea2Pipeline.from_pretrained(
        models.locate(model, options.weights), dtype=torch.float32, local_files_only=True
    )
    stock.set_progress_bar_config(disable=True)
    print("side  stock wall/CPU s  ours wall/CPU s  times faster (CPU)  largest pixel difference")
    for side in options.sides:
        _compare(stock, engine, model, side=side, runs=options.runs)
    _parts(stock, engine, model)


def _compare(
    stock: Krea2Pipeline, engine: PipelineEngine, model: Model, *, side: int, runs: int
) -> None:
    theirs, ours = _median(
        [lambda: _draw_stock(stock, model, side, 1), lambda: _draw(engine, model, side, 1)], runs
    )
    pixels = [
        np.asarray(image, np.int16)
        for image in (_draw_stock(stock, model, side, 1), _draw(engine, model, side, 1))
    ]
    print(
        f"{side:4}  {theirs.wall:8.2f} {theirs.processor:6.2f}  {ours.wall:8.2f} "
        f"{ours.processor:6.2f}  {theirs.processor / ours.processor:12.1f}  "
        f"{int(np.abs(pixels[0] - pixels[1]).max()):12} of 255"
    )


def _parts(stock: Krea2Pipeline, engine: PipelineEngine, model: Model) -> None:
    """Preview (256 and 1024 px) and output filter, in milliseconds."""
    preview, judge = fit(stock.vae), ImageFilter()
    picture = _draw(engine, model, 256, 1)
    judge.load()
    small, large = torch.randn(256, 64), torch.randn(4096, 64)
    timings = _median(
        [
            lambda: preview.webp(small, 16, 16),
            lambda: preview.webp(large, 64, 64),
            lambda: judge.check(picture),
        ],
        21,
    )
    for name, timing in zip(("preview 256 px", "preview 1024 px", "filter"), timings, strict=True):
        print(f"{name}: {timing.wall * 1000:.1f} ms wall, {timing.processor * 1000:.1f} ms CPU")


def _draw(engine: PipelineEngine, model: Model, side: int, seed: int, *, images: int = 1) -> Image:
    request = GenerationRequest(PROMPT, model.id, side, side, images=images, seed=seed)
    return engine.render(request, model, lambda _progress: None, lambda: False)[0]


def _draw_stock(pipeline: Krea2Pipeline, model: Model, side: int, seed: int) -> Image:
    picture: Image = pipeline(
        PROMPT,
        width=side,
        height=side,
        num_inference_steps=model.steps,
        guidance_scale=model.guidance,
        generator=torch.Generator().manual_seed(seed),
    ).images[0]
    return picture


def _median(works: list[Callable[[], object]], runs: int) -> list[Timing]:
    """Time each of `works` `runs` times, in turns, after one run of each that is not counted."""
    taken: list[list[tuple[float, float]]] = [[] for _ in works]
    for run in range(runs + 1):
        for work, times in zip(works, taken, strict=True):
            wall, processor = time.perf_counter(), time.process_time()
            work()
            if run:
                times.append((time.perf_counter() - wall, time.process_time() - processor))
    return [
        Timing(*(statistics.median(column) for column in zip(*times, strict=True)))
        for times in taken
    ]


if __name__ == "__main__":
    main()
