"""`python -m inference.bench.together`: a picture by one GPU and by several, as a table.

Reads Krea 2 Turbo from `--weights`, which `python -m inference.bench --write` may have written. The
whole request as in the other tables; beside it how far the latents are from those of the first row.
More processes than GPUs share them and meet through main memory: that shows that they give the
same, and no speed.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from inference import models
from inference.bench.whole import Finishing, median_of, run
from inference.engine.profile import CHOICES
from inference.engine.render import PipelineEngine
from inference.models import Model
from inference.request import GenerationRequest

PROMPT = "a red apple, flat style, on a blue background"
HEAD = "| GPUs | side | loaded | whole | encode | denoise | decode | files | times | differs | n |"
SECONDS_MAX = 60.0  # of a row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", default="krea-2-turbo")
    parser.add_argument("--precision", choices=CHOICES, default="auto")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--runs", type=int, default=10)
    chosen = parser.parse_args()
    print(f"{HEAD}\n{'|---' * 11}|")
    with tempfile.TemporaryDirectory() as folder:
        finishing = Finishing(Path(folder))
        for line in rows(chosen, finishing, chosen.gpus):
            print(line, flush=True)


def rows(chosen: argparse.Namespace, finishing: Finishing, counts: Sequence[int]) -> Iterator[str]:
    """One line a count and side; the first count is what the others are compared with."""
    model = models.find(chosen.model)
    first: dict[int, tuple[float, torch.Tensor]] = {}
    for count in counts:
        began = time.perf_counter()
        engine = PipelineEngine(chosen.weights, precision=chosen.precision, together=count)
        engine.load(model, lambda _sentence: None)
        loaded = time.perf_counter() - began
        for side in chosen.sides:
            request = GenerationRequest(PROMPT, model.id, side, side, images=1, seed=1)
            make = partial(run, engine, model, request, finishing)
            ours, runs = median_of(make, chosen.runs, SECONDS_MAX)
            made = latents(engine, model, request)
            whole, theirs = first.setdefault(side, (ours.whole, made))
            phases = [ours.whole, ours.encode, ours.denoise, ours.decode, ours.files]
            differs = float((made - theirs).norm() / theirs.norm())
            cells = [str(count), str(side), f"{loaded:.1f}", *(f"{one:.3f}" for one in phases)]
            cells += [f"{whole / ours.whole:.2f}", f"{differs:.1e}", str(runs)]
            yield f"| {' | '.join(cells)} |"
        engine.unload()


def latents(engine: PipelineEngine, model: Model, request: GenerationRequest) -> torch.Tensor:
    """Of the picture of `request`, in main memory."""
    states = engine.encode(request, model)
    (made,) = engine.denoise(states, request, model, lambda _step: None, lambda: False)
    made.settle()
    tensor: torch.Tensor = made.tensor
    return tensor.float().cpu()


if __name__ == "__main__":
    main()
