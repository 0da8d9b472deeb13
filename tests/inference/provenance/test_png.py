"""Our PNGs are PNGs: what Pillow reads from them is what was written."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from inference.provenance import png

NOISE = np.random.default_rng(1)


def pictures() -> list[Image.Image]:
    rows, columns = np.mgrid[0:90, 0:70]
    slope = np.stack([rows * 2, columns * 3, rows + columns], axis=-1).astype(np.uint8)
    noise = NOISE.integers(0, 256, (33, 47, 3), np.uint8)
    return [
        Image.fromarray(slope),
        Image.fromarray(noise),
        Image.fromarray(np.vstack([noise, noise[::-1]])),
        Image.new("RGB", (1, 1), "red"),
        Image.new("RGB", (700, 1), "white"),
        Image.new("RGB", (1, 700), "black"),
    ]


@pytest.mark.parametrize("picture", pictures(), ids=lambda picture: "{}x{}".format(*picture.size))
def test_every_pixel_comes_back(picture: Image.Image) -> None:
    written = png.encode(picture, PngInfo())
    assert written == png.encode(picture, PngInfo()), "the same picture is the same file"
    with Image.open(io.BytesIO(written)) as read:
        read.load()  # checks every chunk's sum
        assert (read.format, read.mode, read.size) == ("PNG", "RGB", picture.size)
        assert read.tobytes() == picture.tobytes()


def test_what_is_told_beside_the_pixels_comes_back() -> None:
    info = PngInfo()
    info.add_itxt("Comment", "a picture, 描いた")
    info.add_text("Software", "Atelier")
    with Image.open(io.BytesIO(png.encode(Image.new("RGB", (8, 8)), info))) as read:
        read.load()
        assert read.info["Comment"] == "a picture, 描いた"
        assert read.info["Software"] == "Atelier"


def test_a_smooth_picture_becomes_small() -> None:
    """Each filter is chosen where it helps: slopes along, across and both ways."""
    ramp = np.arange(256, dtype=np.uint8)
    for picture in (np.tile(ramp, (256, 1)), np.tile(ramp[:, None], (1, 256))):
        written = png.encode(Image.fromarray(picture).convert("RGB"), PngInfo())
        assert len(written) < 256 * 256 * 3 / 50
