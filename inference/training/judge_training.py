r"""Train the judge on composed scenes, and examine it on held-out ones in every shape.

Four in ten of the scenes that allow it are redrawn as line drawings (`linework`), so that a subject
is known by its form and not by the one drawing in the art; the style head learns from the art
alone. `--withhold 5` keeps the real line drawings of every fifth subject out of training and
measures on them: how well it knows a drawing by a hand that it has never seen.

    python -m inference.training.judge_training --data data/pocket --out weights/pocket-judge \
        --seconds 120 --seed 1
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from inference.training import linework, scenes
from inference.training.judge import CARD_FILE, WEIGHTS_FILE, Judge, look, looked_at
from inference.training.loop import generator_of
from inference.training.marks import Marks, accuracies, join, mark
from inference.training.paint import Flags, Scenes, Shape
from inference.training.subjects import LORA_STYLE, STYLES, subjects

# Shapes that the studio offers, at the size of the pocket models.
SHAPES = tuple(
    Shape(*sides)
    for sides in (
        (256, 256),
        (288, 224),
        (304, 208),
        (336, 192),
        (384, 160),
        (224, 288),
        (208, 304),
        (192, 336),
    )
)
SQUARE_SHARE = 0.4
REDRAWN_SHARE = 0.4
PAIR_SHARE = 0.45
# Scenes whose features are the reference of the Fréchet distance, and of the printed accuracies.
REFERENCE_SCENES = 4096


@dataclass(frozen=True)
class Course:
    """How long and on what the judge is trained; ends after `steps` if they are given."""

    seconds: float
    batch: int
    rate: float
    seed: int
    steps: int | None = None
    redrawn: float = REDRAWN_SHARE
    withhold: int = 0  # keep the line drawings of every n-th subject out; 0 keeps none


def train(atlas: scenes.Atlas, course: Course) -> Judge:
    """Train on fresh scenes, one shape a step; the rate falls to zero over the time."""
    torch.manual_seed(course.seed)
    rng = np.random.default_rng(course.seed)
    generator = generator_of(course.seed, device=atlas.device)
    judge = Judge().to(atlas.device)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=course.rate, weight_decay=0.02)
    start, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        square = rng.random() < SQUARE_SHARE
        shape = looked_at(SHAPES[0 if square else rng.integers(len(SHAPES))])
        loss = _advance(judge, atlas, course, shape, (rng, generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        warm = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = course.rate * warm * 0.5 * (1 + np.cos(np.pi * done))
        optimizer.step()
        step += 1
        spent = time.monotonic() - start
        done = step / course.steps if course.steps else spent / course.seconds
        if step % 100 == 0:
            _say(
                step=step,
                seconds=round(spent, 1),
                loss=round(loss.item(), 4),
                pictures_per_second=round(step * course.batch / spent),
            )
    judge.eval()
    return judge


def _advance(
    judge: Judge,
    atlas: scenes.Atlas,
    course: Course,
    shape: Shape,
    chance: tuple[np.random.Generator, torch.Generator],
) -> Tensor:
    """The loss of one fresh batch of a shape."""
    rng, generator = chance
    styles = tuple(range(len(STYLES)))
    drawn = scenes.sample(atlas, course.batch, rng=rng, styles=styles, pair_share=PAIR_SHARE)
    pictures = scenes.render(atlas, drawn, shape.width, shape.height)
    redrawn = linework.drawable(drawn) & (rng.random(course.batch) < course.redrawn)
    if redrawn.any():
        chosen = torch.from_numpy(redrawn).to(pictures.device)[:, None, None, None]
        pictures = torch.where(chosen, linework.redraw(pictures, drawn, generator), pictures)
    worn = _worn(pictures).contiguous(memory_format=torch.channels_last)
    device = atlas.device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        out = judge(worn)
    return _loss(out, drawn, device, redrawn=redrawn, unseen=_withheld(drawn, course.withhold))


def _withheld(drawn: Scenes, every: int) -> Flags:
    """Line drawings of the subjects kept out; all false when none are."""
    if not every:
        return np.zeros(len(drawn), dtype=np.bool_)
    chosen = (drawn.subject1 % every == 0) | ((drawn.subject2 >= 0) & (drawn.subject2 % every == 0))
    return np.asarray(chosen & (drawn.style == LORA_STYLE))


def _loss(
    out: dict[str, Tensor], drawn: Scenes, device: torch.device, *, redrawn: Flags, unseen: Flags
) -> Tensor:
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
            np.where(pair & (upright == axis) & ~unseen, thing, ignored)
            for axis in (0, 1)
            for thing in (first, second)
        ],
        1,
    )
    wanted = {
        "subject": np.where(pair | unseen, ignored, drawn.subject1),
        "style": np.where(redrawn | unseen, ignored, drawn.style),
        "background": np.where(unseen, ignored, drawn.background),
        "layout": np.where(unseen, ignored, layout),
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


def save(
    judge: Judge, out: Path, atlas: scenes.Atlas, count: int, course: Course
) -> dict[str, object]:
    """Examine the judge on `count` real held-out scenes, write it with their features.

    Returns what its card says: accuracies in squares, in the other shapes (a quarter of the scenes
    each) and on real line drawings, those withheld apart.
    """
    rng = np.random.default_rng(course.seed + 1)
    raw, features = _examine(judge, atlas, rng, count)
    line, _ = _examine(judge, atlas, rng, count // 4, styles=(LORA_STYLE,))
    card: dict[str, object] = {
        "accuracy_on_real_held_out_scenes": accuracies(raw)
        | {f"line_{name}": value for name, value in accuracies(line).items()},
        "accuracy_by_shape": {
            f"{shape.width}x{shape.height}": accuracies(
                _examine(judge, atlas, rng, count // 4, shape=shape)[0]
            )
            for shape in SHAPES[1:]
        },
        "scenes": count,
    }
    if course.withhold:
        card["line_drawings_never_seen"] = _examine_withheld(judge, atlas, rng, course.withhold)
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in judge.state_dict().items()
    }
    weights["real.mean"] = torch.from_numpy(features.mean(0)).float()
    weights["real.covariance"] = torch.from_numpy(np.cov(features, rowvar=False)).float()
    out.mkdir(parents=True, exist_ok=True)
    save_file({n: v.cpu().contiguous() for n, v in weights.items()}, out / WEIGHTS_FILE)
    listed = card | {"subjects": [subject.name for subject in subjects()]}
    (out / CARD_FILE).write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
    return card


def _examine(
    judge: Judge,
    atlas: scenes.Atlas,
    rng: np.random.Generator,
    count: int,
    *,
    shape: Shape = SHAPES[0],
    styles: tuple[int, ...] | None = None,
) -> tuple[Marks, NDArray[np.float64]]:
    drawn = scenes.sample(
        atlas, count, rng=rng, split="heldout", styles=styles, plain=True, pair_share=1 / 3
    )
    verdict = join(
        look(judge, scenes.render(atlas, drawn[at : at + 256], shape.width, shape.height), 256)
        for at in range(0, count, 256)
    )
    return mark(verdict, scenes.labels_of(drawn)), verdict.features.astype(np.float64)


def _examine_withheld(
    judge: Judge, atlas: scenes.Atlas, rng: np.random.Generator, every: int
) -> dict[str, float | int]:
    """Share of subjects told right in real line drawings that were kept out of training."""
    drawn = scenes.sample(atlas, 2048, rng=rng, styles=(LORA_STYLE,), plain=True, pair_share=0)
    kept = _withheld(drawn, every)
    verdict = join(
        look(judge, scenes.render(atlas, drawn[at : at + 256], 256), 256)
        for at in range(0, len(drawn), 256)
    )
    right = mark(verdict, scenes.labels_of(drawn)).subject[kept]
    return {"subject": round(float(right.mean()), 4), "pictures": int(kept.sum())}


def _say(**event: object) -> None:
    print(json.dumps({"stage": "judge", **event}), flush=True)


def main() -> None:
    """Entry point of `python -m inference.training.judge_training`."""
    parser = argparse.ArgumentParser(description="Train the judge of the pocket model.")
    parser.add_argument("--data", type=Path, default=Path("data/pocket"))
    parser.add_argument("--out", type=Path, default=Path("weights/pocket-judge"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--redrawn", type=float, default=REDRAWN_SHARE)
    parser.add_argument("--withhold", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a few steps, to prove the path")
    given = parser.parse_args()
    course = Course(
        seconds=given.seconds,
        batch=16 if given.tiny else given.batch,
        rate=given.rate,
        seed=given.seed,
        steps=4 if given.tiny else None,
        redrawn=given.redrawn,
        withhold=given.withhold,
    )
    atlas = scenes.Atlas.load(given.data, given.device)
    judge = train(atlas, course)
    count = 64 if given.tiny else REFERENCE_SCENES
    _say(**save(judge, given.out, atlas, count, course))


if __name__ == "__main__":
    main()
