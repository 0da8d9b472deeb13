"""Whether the watermark outlives what people do to pictures, and is claimed where it is not.

The test set: pictures drawn by Pocket Turbo from its own prompts, the photographs that the page
library brings (cut into parts at several sizes), plain drawings and noise as rough as photographs.
Each is marked and then saved as JPEG at quality 75, halved, cut by a tenth of each side, and all of
it at once; and each is searched as it was before it was marked. Prints the shares and the strongest
answer of an unmarked picture.

    python benchmarks/watermark.py [--drawn 48] [--made 76]
"""

import argparse
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from inference import models  # noqa: E402 - the repository is on the path from here
from inference.provenance import watermark  # noqa: E402
from inference.request import GenerationRequest  # noqa: E402

KEY = b"the key of this studio"
BATCH = 4
PHOTOGRAPH_SIDES = (256, 512)
MADE_SIDES = (256, 256, 512)

Picture = Image.Image


def main() -> None:
    """Print a table: for each kind of picture, what survived and what was claimed wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--drawn", type=int, default=48)
    parser.add_argument("--made", type=int, default=76)
    chosen = parser.parse_args()
    kinds: dict[str, list[Picture]] = {
        "Pocket Turbo": list(drawn(chosen.drawn)),
        "photographs": list(photographs()),
        "plain drawings": [plain(number) for number in range(chosen.made)],
        "rough noise": [rough(number) for number in range(chosen.made)],
    }
    kinds["all"] = [picture for pictures in kinds.values() for picture in pictures]
    answers: dict[int, list[float]] = {id(one): try_all(one) for one in kinds["all"]}
    print(
        "| pictures | number | "
        + " | ".join((*CHANGES, "claimed wrongly", "strongest unmarked"))
        + " |"
    )
    print("|---|---:|" + "---:|" * (len(CHANGES) + 2))
    for kind, pictures in kinds.items():
        scores = np.array([answers[id(one)] for one in pictures])
        found = (scores[:, : len(CHANGES)] >= watermark.SCORE_FOUND).mean(0)
        unmarked = scores[:, len(CHANGES) :]
        wrong = int((unmarked >= watermark.SCORE_FOUND).sum())
        shares = " | ".join(f"{share:.1%}" for share in found)
        print(
            f"| {kind} | {len(pictures)} | {shares} | {wrong} of {unmarked.size} "
            f"| {unmarked.max():.2f} |"
        )


def try_all(picture: Picture) -> list[float]:
    """The answers: after each change of the marked copy, and of the picture without a mark."""
    marked = watermark.embed(picture, KEY)
    copies = [change(marked) for change in CHANGES.values()]
    return [watermark.search(copy, KEY).score for copy in (*copies, picture)]


def drawn(count: int) -> Iterator[Picture]:
    """Pictures that Pocket Turbo draws from the prompts that it is measured with."""
    from inference.engine.render import PipelineEngine  # noqa: PLC0415 - takes seconds

    model, engine = models.find("pocket-turbo"), PipelineEngine(ROOT / "weights")
    engine.load(model, print)
    prompts = resources.files("inference.training").joinpath("prompts.json").read_text("utf-8")
    listed = [str(one) for group in json.loads(prompts).values() for one in group]
    side = model.side_default
    for number in range(0, count, BATCH):
        prompt = listed[number * 7 % len(listed)]
        request = GenerationRequest(prompt, model.id, side, side, images=BATCH, seed=number)
        yield from engine.render(request, model, lambda _progress: None, lambda: False)


def photographs() -> Iterator[Picture]:
    """Parts of the page library's own photographs, at several sizes."""
    found = importlib.util.find_spec("gradio")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "media_assets" / "images"
    for path in sorted(folder.glob("*.jp*g")):
        whole = Image.open(path).convert("RGB")
        side = min(whole.size)
        corners = ((0, 0), (whole.width - side, whole.height - side))
        for left, top in corners:
            part = whole.crop((left, top, left + side, top + side))
            yield from (part.resize((n, n), Image.Resampling.LANCZOS) for n in PHOTOGRAPH_SIDES)


def plain(number: int) -> Picture:
    """Three plain shapes on a plain ground, the hardest place to hide anything."""
    chance, side = np.random.default_rng(number), MADE_SIDES[number % len(MADE_SIDES)]
    image = Image.new("RGB", (side, side), tuple(chance.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(3):
        x, y, reach = (chance.uniform(0.1, 0.9, 3) * side).tolist()
        colour = tuple(chance.integers(0, 256, 3).tolist())
        pen.ellipse((x - reach / 3, y - reach / 3, x + reach / 3, y + reach / 3), fill=colour)
    return image


def rough(number: int) -> Picture:
    """Noise whose waves fall off as those of photographs do, at full contrast."""
    side = MADE_SIDES[number % len(MADE_SIDES)]
    waves = np.fft.fftfreq(side)
    radius = np.hypot(waves[:, None], waves[None, :])
    radius[0, 0] = 1
    noise = np.random.default_rng(number).standard_normal((side, side))
    light = np.fft.ifft2(np.fft.fft2(noise) / radius**1.2).real
    light = (light - light.mean()) / light.std() * 45 + 128
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).convert("RGB")


def as_jpeg(picture: Picture) -> Picture:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=75)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def halved(picture: Picture) -> Picture:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)


def cropped(picture: Picture) -> Picture:
    """A tenth of each side less, off centre and off the tiles' grid."""
    return picture.crop((7, 3, 7 + picture.width * 9 // 10, 3 + picture.height * 9 // 10))


def shared(picture: Picture) -> Picture:
    """What a picture goes through on its way through a chat."""
    return as_jpeg(halved(cropped(picture)))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "untouched": lambda picture: picture,
    "JPEG 75": as_jpeg,
    "50 % size": halved,
    "10 % cropped": cropped,
    "all three": shared,
}

if __name__ == "__main__":
    main()
