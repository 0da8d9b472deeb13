"""The examiner: a small CNN, trained on composed scenes alone, that says what a picture shows.

Heads: subject (whole picture, and each half), style, background colour and layout.  A relation
counts as shown only if the layout is right *and* each half holds its own subject, so a picture with
both things side by side never passes for "above".  It never sees a generated picture in training.
Max-pooling, not averaging: a subject fills a fifth of the picture (averages learnt nothing).

    python -m inference.training.judge --data data/pocket --out weights/pocket-judge --seconds 75
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from inference.training import scenes
from inference.training.marks import Verdict, accuracies, join, mark
from inference.training.scenes import Labels
from inference.training.subjects import BACKGROUNDS, LORA_STYLE, STYLES, subjects

# Pictures are looked at in this size: enough to tell every sprite, a quarter of the work of 256.
LOOK_PX = 128
LAYOUTS = ("one", "side by side", "stacked", "copies")
WIDTHS = (32, 64, 128, 192, 224)
FEATURES = WIDTHS[-1]
WEIGHTS_FILE, CARD_FILE = "judge.safetensors", "judge.json"
# Scenes whose features are the reference of the Fréchet distance, and of the printed accuracies.
REFERENCE_SCENES = 4096


class Judge(nn.Module):
    """Picture (B, 3, any, any) in [-1, 1] -> logits; `look` turns them into a `Verdict`."""

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
        self.layout = nn.Linear(last, len(LAYOUTS))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits by head; "halves" is (B, 4, subjects): left, right, top, bottom."""
        if pictures.shape[-1] != LOOK_PX:
            pictures = functional.interpolate(pictures, size=(LOOK_PX, LOOK_PX), mode="area")
        grid = self.body(pictures)
        half = grid.shape[-1] // 2
        parts = (grid[..., :half], grid[..., half:], grid[..., :half, :], grid[..., half:, :])
        best = grid.amax((2, 3))
        halves = torch.stack([part.amax((2, 3)) for part in parts], 1)
        return {
            "features": best,
            "subject": self.subject(best),
            "halves": self.subject(halves),
            "style": self.style(best),
            "background": self.background(torch.cat([best, grid.mean((2, 3))], 1)),
            "layout": self.layout(best),
        }


@torch.inference_mode()
def look(judge: Judge, pictures: Tensor, batch: int = 64) -> Verdict:
    """Judge (B, 3, size, size) in [-1, 1], on the judge's device."""
    device = next(judge.parameters()).device
    outs = [judge(part.to(device, torch.float32)) for part in torch.split(pictures, batch)]
    joined = {head: torch.cat([out[head] for out in outs]).float().cpu() for head in outs[0]}
    best = {head: joined[head].argmax(-1).numpy() for head in joined if head != "features"}
    return Verdict(**best, features=joined["features"].numpy())


def score(judge: Judge, pictures: Tensor, labels: Sequence[Labels]) -> dict[str, float]:
    """Accuracies of (B, 3, size, size) pictures in [-1, 1] against what was asked for."""
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


def train(
    atlas: scenes.Atlas, *, seconds: float, batch: int, steps: int | None, seed: int, rate: float
) -> Judge:
    """Train for `seconds` (or `steps`) on fresh scenes; the rate falls to zero over that time."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    device = atlas.device
    judge = Judge().to(device)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=rate, weight_decay=0.02)
    start, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        drawn = scenes.sample(
            atlas, batch, rng=rng, styles=tuple(range(len(STYLES))), pair_share=0.45
        )
        worn = _worn(scenes.render(atlas, drawn, LOOK_PX))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = _loss(judge(worn.contiguous(memory_format=torch.channels_last)), drawn, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        warm = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * 0.5 * (1 + np.cos(np.pi * done))
        optimizer.step()
        step += 1
        spent = time.monotonic() - start
        done = step / steps if steps else spent / seconds
        if step % 100 == 0:
            _say(
                step=step,
                seconds=round(spent, 1),
                loss=round(loss.item(), 4),
                pictures_per_second=round(step * batch / spent),
            )
    judge.eval()
    return judge


def _loss(out: dict[str, Tensor], drawn: scenes.Scenes, device: torch.device) -> Tensor:
    """Cross-entropy of every head; halves are asked only where they hold one subject each."""
    pair = drawn.subject2 >= 0
    upright = np.maximum(drawn.relation, 0) // 2
    layout = np.where(pair, 1 + upright, np.where(drawn.count > 1, 3, 0))
    swap = drawn.relation % 2 == 1
    first = np.where(swap, drawn.subject2, drawn.subject1)
    second = np.where(swap, drawn.subject1, drawn.subject2)
    ignored = np.full_like(drawn.subject1, -100)
    # Each row asks two halves: of its own axis for a pair, none otherwise.
    halves = np.stack(
        [
            np.where(pair & (upright == axis), thing, ignored)
            for axis in (0, 1)
            for thing in (first, second)
        ],
        1,
    )
    wanted = {
        "subject": np.where(pair, ignored, drawn.subject1),
        "style": drawn.style,
        "background": drawn.background,
        "layout": layout,
    }
    loss = functional.cross_entropy(
        out["halves"].float().flatten(0, 1), torch.from_numpy(halves.reshape(-1)).to(device)
    )
    for head, target in wanted.items():
        loss = loss + functional.cross_entropy(
            out[head].float(), torch.from_numpy(target).to(device)
        )
    return loss


def _worn(pictures: Tensor) -> Tensor:
    """Wear the pictures a little, as a decoder would: noise, softness, a shift of brightness."""
    rows = (len(pictures), 1, 1, 1)
    device = pictures.device
    soft = functional.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    mix = torch.rand(rows, device=device) * 0.9
    pictures = pictures + (soft - pictures) * mix
    noise = torch.randn_like(pictures) * (torch.rand(rows, device=device) * 0.08)
    return pictures + noise + (torch.rand(rows, device=device) - 0.5) * 0.06


def save(judge: Judge, out: Path, atlas: scenes.Atlas, count: int, seed: int) -> dict[str, float]:
    """Examine the judge on `count` real held-out scenes, write it with their features.

    Returns its accuracies, those on the line style with the prefix "line_".
    """
    rng = np.random.default_rng(seed + 1)
    raw = _examine(judge, atlas, rng, count, None)
    line = _examine(judge, atlas, rng, count // 4, (LORA_STYLE,))
    features = raw[1].astype(np.float64)
    scores = raw[0] | {f"line_{name}": value for name, value in line[0].items()}
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in judge.state_dict().items()
    }
    weights["real.mean"] = torch.from_numpy(features.mean(0)).float()
    weights["real.covariance"] = torch.from_numpy(np.cov(features, rowvar=False)).float()
    out.mkdir(parents=True, exist_ok=True)
    save_file({n: v.cpu().contiguous() for n, v in weights.items()}, out / WEIGHTS_FILE)
    names = [subject.name for subject in subjects()]
    card = {
        "accuracy_on_real_held_out_scenes": scores,
        "scenes": count,
        "subjects": names,
    }
    (out / CARD_FILE).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return scores


def _examine(
    judge: Judge,
    atlas: scenes.Atlas,
    rng: np.random.Generator,
    count: int,
    styles: tuple[int, ...] | None,
) -> tuple[dict[str, float], NDArray[np.float32]]:
    drawn = scenes.sample(
        atlas, count, rng=rng, split="heldout", styles=styles, plain=True, pair_share=1 / 3
    )
    verdict = join(
        look(judge, scenes.render(atlas, drawn[at : at + 256], 256), 256)
        for at in range(0, count, 256)
    )
    return accuracies(mark(verdict, scenes.labels_of(drawn))), verdict.features


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


def _say(**event: float | str) -> None:
    print(json.dumps({"stage": "judge", **event}), flush=True)


def main() -> None:
    """Entry point of `python -m inference.training.judge`."""
    parser = argparse.ArgumentParser(description="Train the judge of the pocket model.")
    parser.add_argument("--data", type=Path, default=Path("data/pocket"))
    parser.add_argument("--out", type=Path, default=Path("weights/pocket-judge"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=75)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="a few steps, to prove the path")
    options = parser.parse_args()
    atlas = scenes.Atlas.load(options.data, options.device)
    judge = train(
        atlas,
        seconds=options.seconds,
        batch=16 if options.tiny else options.batch,
        steps=4 if options.tiny else None,
        seed=options.seed,
        rate=options.rate,
    )
    count = 64 if options.tiny else REFERENCE_SCENES
    _say(**save(judge, options.out, atlas, count, options.seed))


if __name__ == "__main__":
    main()
