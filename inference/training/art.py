"""`make data`: fetch the captioned art from the npm registry and pack it into one atlas folder.

Writes `<out>/atlas/<style>.webp` (a grid of 256 px sprites, transparent ground) and
`<out>/atlas/manifest.json` (subjects, styles, grid, package versions, licences).  Every subject
stands in every style, each sprite cropped to its ink and scaled to the same box, so that the art
sets differ in hand and not in margin.  "pixel" is made here from the flat set; all others are the
packages' own drawings.  `scenes.Atlas.load` reads the folder; nothing else does.
"""

import argparse
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

from inference.training.paint import TABLES_FILE, Atlas
from inference.training.subjects import STYLES, Subject, subjects

# Exact versions: the index of subjects and the pictures behind the released weights.
PACKAGES = {
    "flat": ("@iconify-json/fluent-emoji-flat", "1.2.6", "MIT"),
    "3d": ("@lobehub/fluent-emoji-3d", "1.1.0", "MIT"),
    "shaded": ("@iconify-json/noto", "1.2.9", "Apache-2.0"),
    "line": ("@iconify-json/fluent-emoji-high-contrast", "1.2.6", "MIT"),
}
SPRITE_PX = 256
# Ink box: the margin keeps bilinear sampling from smearing ink over the sprite's edge.
INK_PX = 240
# 20 blocks of 12 px: coarse enough to read as pixel art, fine enough to tell a lemon from a pear.
PIXEL_ART_BLOCKS = 20
COLUMNS = 20
WEBP_QUALITY = 94

Draw = Callable[[Subject], Image.Image]


def main() -> None:
    """Entry point of `python -m inference.training.art --out data/pocket`."""
    parser = argparse.ArgumentParser(description="Build the pocket model's sprite atlas.")
    parser.add_argument("--out", type=Path, default=Path("data/pocket"))
    build(parser.parse_args().out)


def build(out: Path) -> Path:
    """Fetch, render and pack every style; return the atlas folder."""
    atlas = out / "atlas"
    atlas.mkdir(parents=True, exist_ok=True)
    sources = {style: fetch(style, out / "packages") for style in PACKAGES}
    artists: dict[str, Draw] = {
        "flat": svg_artist(sources["flat"]),
        "3d": raster_artist(sources["3d"]),
        "shaded": svg_artist(sources["shaded"]),
        "line": svg_artist(sources["line"]),
    }
    artists["pixel"] = lambda subject: pixelate(normalise(artists["flat"](subject)))
    for style in STYLES:
        finish = (lambda image: image) if style == "pixel" else normalise
        sheet = grid([finish(artists[style](subject)) for subject in subjects()])
        lossless = style in {"pixel", "line"}
        sheet.save(atlas / f"{style}.webp", quality=WEBP_QUALITY, lossless=lossless, method=4)
    (atlas / "manifest.json").write_text(json.dumps(manifest(), indent=1, ensure_ascii=False))
    whole = Atlas.load(atlas)
    np.savez_compressed(atlas / TABLES_FILE, visible=whole.visible, tintable=whole.tintable)
    return atlas


def manifest() -> dict[str, Any]:
    """What the atlas holds; `scenes` refuses an atlas whose subject list is not today's."""
    return {
        "sprite_px": SPRITE_PX,
        "columns": COLUMNS,
        "styles": list(STYLES),
        "subjects": [subject.name for subject in subjects()],
        "packages": {
            style: {"name": name, "version": version, "licence": licence}
            for style, (name, version, licence) in PACKAGES.items()
        },
    }


def fetch(style: str, cache: Path) -> Path:
    """Unpack the style's npm package under `cache` once and return its folder.

    Raises CalledProcessError when the registry cannot be reached.
    """
    name, version, _ = PACKAGES[style]
    folder = cache / f"{style}-{version}"
    if folder.exists():
        return folder / "package"
    cache.mkdir(parents=True, exist_ok=True)
    npm = shutil.which("npm")
    if npm is None:
        message = "`make data` needs npm on the PATH to fetch the art packages"
        raise FileNotFoundError(message)
    command = [npm, "pack", "--silent", f"{name}@{version}"]
    answer = subprocess.run(command, cwd=cache, check=True, capture_output=True, text=True)  # noqa: S603 - a fixed list of names
    with tarfile.open(cache / answer.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def svg_artist(package: Path) -> Draw:
    """Draw from an iconify package: `chars.json` maps code points to SVG bodies."""
    names: dict[str, str] = json.loads((package / "chars.json").read_text())
    data = json.loads((package / "icons.json").read_text())
    size = int(data.get("height", data.get("width", 32)))

    def draw(subject: Subject) -> Image.Image:
        name = names[_spelling(subject.codepoint, names)]
        body = data["icons"][name]["body"]
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}">{body}</svg>'
        # Twice the sprite: the crop to the ink must not have to enlarge.
        png = resvg_py.svg_to_bytes(svg_string=svg, width=2 * SPRITE_PX, height=2 * SPRITE_PX)
        return Image.open(io.BytesIO(bytes(png))).convert("RGBA")

    return draw


def raster_artist(package: Path) -> Draw:
    """Draw from a package of pictures named by code point."""
    files = {path.stem.lower(): path for path in (package / "assets").iterdir()}

    def draw(subject: Subject) -> Image.Image:
        return Image.open(files[_spelling(subject.codepoint, files)]).convert("RGBA")

    return draw


def _spelling(codepoint: str, names: dict[str, Any]) -> str:
    """Sets disagree on the emoji variation selector; take the spelling this set has."""
    return codepoint if codepoint in names else f"{codepoint}-fe0f"


def normalise(image: Image.Image) -> Image.Image:
    """Crop to the ink and centre it in a SPRITE_PX square with its longer side at INK_PX."""
    alpha = np.asarray(image.getchannel("A")) > 8
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    ink = image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    scale = INK_PX / max(ink.size)
    size = (max(1, round(ink.width * scale)), max(1, round(ink.height * scale)))
    sprite = Image.new("RGBA", (SPRITE_PX, SPRITE_PX))
    corner = ((SPRITE_PX - size[0]) // 2, (SPRITE_PX - size[1]) // 2)
    sprite.paste(ink.resize(size, Image.Resampling.LANCZOS), corner)
    return sprite


def pixelate(sprite: Image.Image) -> Image.Image:
    """A sprite as PIXEL_ART_BLOCKS² opaque blocks of few colours."""
    edge = (SPRITE_PX - INK_PX) // 2
    ink = sprite.crop((edge, edge, SPRITE_PX - edge, SPRITE_PX - edge))
    small = ink.resize((PIXEL_ART_BLOCKS, PIXEL_ART_BLOCKS), Image.Resampling.BOX)
    solid = small.getchannel("A").point(lambda a: 255 if a >= 110 else 0)
    few = small.convert("RGB").quantize(12, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    blocks = few.convert("RGBA")
    blocks.putalpha(solid)
    out = Image.new("RGBA", sprite.size)
    out.paste(blocks.resize(ink.size, Image.Resampling.NEAREST), (edge, edge))
    return out


def grid(sprites: list[Image.Image]) -> Image.Image:
    """Sprites row by row, COLUMNS a row."""
    rows = -(-len(sprites) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * SPRITE_PX, rows * SPRITE_PX))
    for index, sprite in enumerate(sprites):
        sheet.paste(sprite, (index % COLUMNS * SPRITE_PX, index // COLUMNS * SPRITE_PX))
    return sheet


if __name__ == "__main__":
    main()
