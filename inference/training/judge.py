"""The examiner: a small CNN, trained on composed scenes alone, that says what a picture shows.

Heads: subject (whole picture, and each half), style, background colour and layout.  A relation
counts as shown only if the layout is right *and* each half holds its own subject, so a picture with
both things side by side never passes for "above".  It never sees a generated picture in training
(`judge_training`) and takes pictures of any shape.  Max-pooling, not averaging: a subject fills a
fifth of the picture (averages learnt nothing).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from inference.training.marks import Verdict, accuracies, mark
from inference.training.paint import Shape
from inference.training.scenes import Labels
from inference.training.subjects import BACKGROUNDS, STYLES, subjects

# A picture's shorter side is scaled to this: enough to tell every sprite, a quarter of 256's work.
LOOK_PX = 128
# The body halves a side three times.
LOOK_STEP_PX = 8
LAYOUTS = ("one", "side by side", "stacked", "copies")
WIDTHS = (32, 64, 128, 192, 224)
FEATURES = WIDTHS[-1]
WEIGHTS_FILE, CARD_FILE = "judge.safetensors", "judge.json"


class Judge(nn.Module):
    """Picture (B, 3, H, W) in [-1, 1], any shape -> logits; `look` makes a `Verdict` of them."""

    def __init__(self) -> None:
        super().__init__()
        stem, small, middle, wide, last = WIDTHS
        self.body = nn.Sequential(
            _conv(3, stem, 1),
            _conv(stem, small, 2),
            _conv(small, middle, 2),
            _Residual(middle),
            _conv(middle, wide, 2),
            _Residual(wide),
            _conv(wide, last, 1),
        )
        self.subject = nn.Linear(last, len(subjects()))
        self.style = nn.Linear(last, len(STYLES))
        self.background = nn.Linear(2 * last, len(BACKGROUNDS))
        self.layout = nn.Linear(5 * last, len(LAYOUTS))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits by head; "halves" is (B, 4, subjects): left, right, top, bottom."""
        shape = looked_at(Shape(pictures.shape[-1], pictures.shape[-2]))
        size = (shape.height, shape.width)
        if pictures.shape[-2:] != size:
            pictures = functional.interpolate(pictures, size=size, mode="area")
        grid = self.body(pictures)
        middle, across = grid.shape[-2] // 2, grid.shape[-1] // 2
        parts = (
            grid[..., :across],
            grid[..., across:],
            grid[..., :middle, :],
            grid[..., middle:, :],
        )
        best = grid.amax((2, 3))
        halves = torch.stack([part.amax((2, 3)) for part in parts], 1)
        return {
            "features": best,
            "subject": self.subject(best),
            "halves": self.subject(halves),
            "style": self.style(best),
            "background": self.background(torch.cat([best, grid.mean((2, 3))], 1)),
            "layout": self.layout(torch.cat([best, halves.flatten(1)], 1)),
        }


def looked_at(shape: Shape) -> Shape:
    """The shape that a picture is scaled to before it is judged."""
    scale = LOOK_PX / shape.shorter / LOOK_STEP_PX
    width, height = (max(1, round(side * scale)) for side in (shape.width, shape.height))
    return Shape(width * LOOK_STEP_PX, height * LOOK_STEP_PX)


@torch.inference_mode()
def look(judge: Judge, pictures: Tensor, batch: int = 64) -> Verdict:
    """Judge (B, 3, H, W) in [-1, 1], on the judge's device."""
    device = next(judge.parameters()).device
    outs = [judge(part.to(device, torch.float32)) for part in torch.split(pictures, batch)]
    joined = {head: torch.cat([out[head] for out in outs]).float().cpu() for head in outs[0]}
    best = {head: joined[head].argmax(-1).numpy() for head in joined if head != "features"}
    return Verdict(**best, features=joined["features"].numpy())


def score(judge: Judge, pictures: Tensor, labels: Sequence[Labels]) -> dict[str, float]:
    """Accuracies of (B, 3, H, W) pictures in [-1, 1] against what was asked for."""
    return accuracies(mark(look(judge, pictures), labels))


def load(folder: Path, device: torch.device | str = "cpu") -> Judge:
    """Read a trained judge; raises ValueError if it learnt another list of subjects."""
    card = json.loads((folder / CARD_FILE).read_text())
    if card["subjects"] != [subject.name for subject in subjects()]:
        message = f"the judge in {folder} learnt another list of subjects: train it again"
        raise ValueError(message)
    judge = Judge()
    weights = load_file(folder / WEIGHTS_FILE)
    wanted = judge.state_dict()
    judge.load_state_dict({name: weights[name].to(wanted[name].dtype) for name in wanted})
    judge.to(device).eval()
    return judge


def reference(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of the features of real held-out scenes, for the Fréchet distance."""
    weights = load_file(folder / WEIGHTS_FILE)
    return weights["real.mean"].double().numpy(), weights["real.covariance"].double().numpy()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(width, width, 1), _conv(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def _conv(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.SiLU()
    )
