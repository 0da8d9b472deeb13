"""The imperceptible watermark: a faint pattern in the brightness, which says "made in this studio".

One pattern of 128 x 128 pixels, drawn from the studio's secret key, is laid over the whole picture
like tiles, a little stronger where the picture is rough than where it is plain. It holds no
message: what it proves is where a picture comes from, and to find it again takes the key. To look
for it, the picture's own shapes are flattened, the tiles are folded onto each other, and the fold
is compared with the pattern at every shift at once (so a crop does not hide it), in all eight
orientations and at the scales that a resized copy may have.

This is spread-spectrum watermarking (Cox, Kilian, Leighton and Shamoon, 1997) with a periodic
pattern. docs/safety.md has the measurements. Needs numpy and Pillow; loads no torch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.provenance.bands import in_bands

TILE = 128  # pixels; 4 tiles in the smallest picture that is sold
# Cycles a pixel. Finer waves do not live through halving and JPEG, coarser ones can be seen.
BAND = (1 / 24, 1 / 7)
# Levels of 255: in plain places, more a level of local contrast, and at most.
AMPLITUDE, AMPLITUDE_GAIN, AMPLITUDE_MAX = 0.6, 0.12, 3.0
ROUGHNESS_RADIUS = 4
ROUGHNESS_REACH = 2 * ROUGHNESS_RADIUS  # a blur of what a blur left
SHAPES_RADIUS, CONTRAST_RADIUS = 10, 6  # what is taken for the picture's own shapes
CONTRAST_LIMIT = 2.5  # in local deviations; edges count no more than this
# Of 220 unmarked pictures none answered with more than 6.4 (docs/safety.md).
SCORE_FOUND = 6.5
SIDE_MIN, SIDE_SEARCHED_MAX = 64, 1536  # a larger picture is searched in its middle
# Longer sides that pictures are made at; a copy is also tried as a resize of one of these.
SIDES_MADE = (256, 512, 768, 1024, 1280, 1344, 1536, 1792, 2048)
SCALE_MIN, SCALE_MAX, SAME_SCALE = 0.25, 4.0, 0.002

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JPEG counts brightness

Plane = NDArray[np.float32]
Spectrum = NDArray[np.complex128]


@dataclass(frozen=True)
class Finding:
    """How strongly the pattern answers: `score` in deviations of what chance gives."""

    score: float

    @property
    def is_marked(self) -> bool:
        """Whether chance is ruled out."""
        return self.score >= SCORE_FOUND


def embed(image: Image.Image, key: bytes, strength: float = 1.0) -> Image.Image:
    """Return an RGB copy of `image` with the pattern of `key` in it; the same input, same output.

    The change is 0.6 to 3 levels of 255 in brightness (43 dB and less noise on plain pictures),
    times `strength`.
    """
    rgb = np.asarray(image.convert("RGB"))
    height, width = rgb.shape[:2]
    tiles = np.tile(_pattern(key) * strength, (1, -(-width // TILE)))[:, :width]

    def marked(first: int, end: int) -> NDArray[np.uint8]:
        # With the rows that the band's roughness depends on.
        above, below = min(first, ROUGHNESS_REACH), min(height - end, ROUGHNESS_REACH)
        amplitude = _amplitude(rgb[first - above : end + below] @ _LUMA)
        pattern = tiles[np.arange(first, end) % TILE]
        change = amplitude[above : above + end - first] * pattern
        return np.rint(np.clip(rgb[first:end] + change[..., None], 0, 255)).astype(np.uint8)

    return Image.fromarray(np.concatenate(in_bands(height, marked)))


def _amplitude(light: Plane) -> Plane:
    """How many levels of change each pixel bears: more where it is rough around it."""
    shapeless = light - _blur(light, ROUGHNESS_RADIUS)
    rough = np.sqrt(np.maximum(_blur(shapeless**2, ROUGHNESS_RADIUS), 0))
    return np.clip(AMPLITUDE + AMPLITUDE_GAIN * rough, AMPLITUDE, AMPLITUDE_MAX)


def answer(image: Image.Image, key: bytes) -> float:
    """How strongly the pattern of `key` answers in a picture that was not resized or turned."""
    return _answer(_scaled(image.convert("RGB"), 1.0), _orientations(key)[:1])


def search(image: Image.Image, key: bytes) -> Finding:
    """Look for the pattern of `key` in a picture of any size; ends at the first sure find."""
    rgb = image.convert("RGB")
    if min(rgb.size) < SIDE_MIN:
        return Finding(0.0)
    best = 0.0
    for scale in _scales(rgb.size):
        best = max(best, _answer(_scaled(rgb, scale), _orientations(key)))
        if best >= SCORE_FOUND:
            break
    return Finding(round(best, 2))


def _scales(size: tuple[int, int]) -> Iterator[float]:
    """The likely ones first: untouched or cropped, halved, doubled, then from a known side."""
    yield from (1.0, 2.0, 0.5)
    for side in SIDES_MADE:
        scale = side / max(size)
        is_new = all(abs(scale / known - 1) > SAME_SCALE for known in (1.0, 2.0, 0.5))
        if SCALE_MIN <= scale <= SCALE_MAX and is_new:
            yield scale


def _scaled(rgb: Image.Image, scale: float) -> Plane:
    """The brightness of the middle of the picture at another size."""
    reach = round(SIDE_SEARCHED_MAX / scale)
    width, height = min(rgb.width, reach), min(rgb.height, reach)
    left, top = (rgb.width - width) // 2, (rgb.height - height) // 2
    middle = rgb.crop((left, top, left + width, top + height))
    if scale != 1.0:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        middle = middle.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(middle, np.float32) @ _LUMA


def _answer(light: Plane, orientations: Sequence[Spectrum]) -> float:
    """The highest correlation over all shifts and `orientations`, in deviations of all shifts."""
    shapeless = light - _blur(light, SHAPES_RADIUS)
    contrast = np.sqrt(np.maximum(_blur(shapeless**2, CONTRAST_RADIUS), 1.0))
    even = np.clip(shapeless / contrast, -CONTRAST_LIMIT, CONTRAST_LIMIT)
    height, width = even.shape
    even = np.pad(even, ((0, -height % TILE), (0, -width % TILE)))
    fold = even.reshape(-1, TILE, even.shape[1] // TILE, TILE).sum((0, 2))
    spectrum = np.fft.fft2(fold)
    # Half whitened: what the picture holds much of, counts less.
    spectrum /= np.sqrt(np.abs(spectrum)) + 1e-9
    best = 0.0
    for conjugate in orientations:
        correlation = np.fft.ifft2(spectrum * conjugate).real
        best = max(best, float(correlation.max() / (correlation.std() + 1e-9)))
    return best


@cache
def _pattern(key: bytes) -> Plane:
    """The tile of a key: noise within BAND, periodic, of mean 0 and deviation 1."""
    seed = int.from_bytes(hashlib.sha256(b"atelier watermark 1" + key).digest())
    noise = np.fft.fft2(np.random.Generator(np.random.PCG64(seed)).standard_normal((TILE, TILE)))
    tile = np.fft.ifft2(noise * _band()).real
    pattern: Plane = (tile / tile.std()).astype(np.float32)
    return pattern


@cache
def _orientations(key: bytes) -> tuple[Spectrum, ...]:
    """The conjugate spectra of the pattern as it is, turned and mirrored: all eight ways."""
    turned = [np.rot90(_pattern(key), turn) for turn in range(4)]
    every = [*turned, *(tile[:, ::-1] for tile in turned)]
    return tuple(np.conj(np.fft.fft2(tile)) * _band() for tile in every)


@cache
def _band() -> NDArray[np.bool_]:
    waves = np.fft.fftfreq(TILE)
    radius = np.hypot(waves[:, None], waves[None, :])
    inside: NDArray[np.bool_] = (radius >= BAND[0]) & (radius <= BAND[1])
    return inside


def _blur(plane: Plane, radius: int) -> Plane:
    """The mean over a square of 2 x `radius` + 1, mirrored at the borders."""
    for axis in (0, 1):
        margins = [(0, 0), (0, 0)]
        margins[axis] = (radius, radius)
        mode = "reflect" if plane.shape[axis] > radius else "edge"
        padded = np.pad(plane, margins, mode=mode)  # type: ignore[call-overload]
        plane = _window_sums(padded if axis == 0 else padded.T, 2 * radius + 1)
        plane = plane if axis == 0 else plane.T
    return plane / np.float32((2 * radius + 1) ** 2)


def _window_sums(rows: Plane, width: int) -> Plane:
    """Sums of `width` neighbouring rows, from sums of 1, 2, 4 and more: few passes, and exact."""
    count, start, size = len(rows) - width + 1, 0, 1
    total = np.zeros_like(rows[:count])
    while True:
        if width & size:
            total += rows[start : start + count]
            start += size
        if 2 * size > width:
            return total
        rows = rows[:-size] + rows[size:]
        size *= 2
