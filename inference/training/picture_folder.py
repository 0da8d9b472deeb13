"""A folder of captioned pictures: the form in which people bring a style to the LoRA trainer.

Beside `name.png` (or .jpg, .webp) stands `name.txt` with its caption; or one `captions.jsonl` has
lines {"file": "name.png", "caption": "..."}. Pictures are cropped to the nearest shape whose sides
are multiples of 16 and whose area is about side x side. `write_scenes` makes such a folder from the
pocket model's own art, for the LoRA that ships with it.

    python -m inference.training.picture_folder --data data/pocket --out build/line --count 40
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from inference.training.paint import Atlas, render
from inference.training.scenes import sample
from inference.training.subjects import LORA_STYLE

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
# Tokens are 16 pixels wide, so sides are multiples of that.
STEP_PX = 16
# Narrower shapes than 1 : 3 are cropped to it.
RATIO_MAX = 3.0
# Side of the scenes that `write_scenes` draws.
WRITTEN_PX = 256


@dataclass(frozen=True)
class Captioned:
    """A picture (3, H, W) in [-1, 1] with its caption."""

    pixels: Tensor
    caption: str


def read_pictures(folder: Path, side: int) -> list[Captioned]:
    """All captioned pictures of a folder, by name. Raises ValueError when there are none."""
    captions = _captions(folder)
    pictures = [_read(folder / name, caption, side) for name, caption in sorted(captions.items())]
    if not pictures:
        message = f"no captioned pictures in {folder}"
        raise ValueError(message)
    return pictures


def bucket(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height in pixels: multiples of 16, area about side², nearest to the shape."""
    ratio = min(max(width / height, 1 / RATIO_MAX), RATIO_MAX)
    wide = max(1, round(side * ratio**0.5 / STEP_PX)) * STEP_PX
    high = max(1, round(side**2 / wide / STEP_PX)) * STEP_PX
    return wide, high


def _captions(folder: Path) -> dict[str, str]:
    listed = folder / "captions.jsonl"
    if listed.exists():
        lines = [json.loads(line) for line in listed.read_text().splitlines() if line.strip()]
        return {line["file"]: line["caption"] for line in lines}
    return {
        path.name: path.with_suffix(".txt").read_text().strip()
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.with_suffix(".txt").exists()
    }


def _read(path: Path, caption: str, side: int) -> Captioned:
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    fitted = ImageOps.fit(upright, bucket(*upright.size, side), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.asarray(fitted, dtype=np.float32).copy()) / 127.5 - 1
    return Captioned(pixels.permute(2, 0, 1), caption)


def write_scenes(atlas: Atlas, out: Path, count: int, seed: int, pair_share: float) -> None:
    """Write `count` captioned scenes in the style kept out of Raw; no subject is shown twice."""
    rng = np.random.default_rng(seed)
    pairs = round(count * pair_share)
    shown: set[int] = set()
    out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    while len(lines) < count:
        share = 1.0 if len(lines) < pairs else 0.0
        scene = sample(atlas, 1, rng=rng, styles=(LORA_STYLE,), pair_share=share, plain=True)
        subjects = {int(scene.subject1[0]), int(scene.subject2[0])} - {-1}
        if subjects & shown:
            continue
        shown |= subjects
        picture = ((render(atlas, scene, WRITTEN_PX)[0] + 1) * 127.5).round().byte().cpu()
        name = f"{len(lines):03}.png"
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(out / name)
        lines.append(json.dumps({"file": name, "caption": scene.captions[0]}))
    (out / "captions.jsonl").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a picture folder in the LoRA's style.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=float, default=0.1, help="share with two subjects")
    given = parser.parse_args()
    write_scenes(Atlas.load(given.data), given.out, given.count, given.seed, given.pairs)


if __name__ == "__main__":
    main()
