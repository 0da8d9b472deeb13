"""The watermark outlives what people do to pictures, and is not seen where it is not."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from inference.provenance import watermark

KEY = b"the key of this studio"
SIDE = 256


def flat(number: int) -> Image.Image:
    """A drawing: three plain shapes on a plain ground, the hardest place to hide anything."""
    chance = np.random.default_rng(number)
    image = Image.new("RGB", (SIDE, SIDE), tuple(chance.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(3):
        x, y, reach = chance.integers(20, 236), chance.integers(20, 236), chance.integers(20, 80)
        colour = tuple(chance.integers(0, 256, 3).tolist())
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    return image


def rough(number: int) -> Image.Image:
    """Noise whose waves fall off as those of photographs do, at full contrast."""
    waves = np.fft.fftfreq(SIDE)
    radius = np.hypot(waves[:, None], waves[None, :])
    radius[0, 0] = 1
    noise = np.random.default_rng(number).standard_normal((SIDE, SIDE))
    light = np.fft.ifft2(np.fft.fft2(noise) / radius**1.2).real
    light = (light - light.mean()) / light.std() * 45 + 128
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).convert("RGB")


PICTURES = [make(number) for number in range(20) for make in (flat, rough)]


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75)
    return Image.open(io.BytesIO(file.getvalue()))


def halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def cropped(image: Image.Image) -> Image.Image:
    """A tenth of each side less, off centre and off the tiles' grid."""
    return image.crop((7, 3, 7 + image.width * 9 // 10, 3 + image.height * 9 // 10))


def turned(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(90)


def shared(image: Image.Image) -> Image.Image:
    """What a picture goes through on its way through a chat: all of it."""
    return as_jpeg(halved(cropped(image)))


@pytest.mark.parametrize("change", [as_jpeg, halved, cropped, turned, shared])
def test_a_changed_copy_is_still_known(change: Callable[[Image.Image], Image.Image]) -> None:
    marked = [watermark.embed(picture, KEY) for picture in PICTURES]
    found = [watermark.search(change(picture), KEY).is_marked for picture in marked]
    assert sum(found) / len(found) >= 0.95


def test_unmarked_pictures_and_those_of_another_studio_are_not_claimed() -> None:
    for picture in PICTURES[:10]:
        assert not watermark.search(picture, KEY).is_marked
        assert not watermark.search(watermark.embed(picture, b"another key"), KEY).is_marked


def test_a_large_picture_is_known_after_a_resize_to_any_size() -> None:
    large = rough(1).resize((1024, 768), Image.Resampling.BICUBIC)
    small = watermark.embed(large, KEY).resize((700, 525), Image.Resampling.LANCZOS)
    assert watermark.search(small, KEY).is_marked


@pytest.mark.parametrize("size", [(1, 1), (63, 4000), (40, 40)])
def test_a_scrap_proves_nothing_and_breaks_nothing(size: tuple[int, int]) -> None:
    assert watermark.search(Image.new("RGB", size, "red"), KEY).score == 0
    assert watermark.embed(Image.new("RGB", size, "red"), KEY).size == size


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_pictures_of_every_kind_can_be_searched(mode: str) -> None:
    assert not watermark.search(flat(0).convert(mode), KEY).is_marked
