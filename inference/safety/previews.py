"""What a half-made picture may show: a wash of its colours, unless a fast look allows more.

A preview passes the same block list and classifiers as the finished picture, at its own small size,
and against a lower limit: what is nearly clear counts. Whatever does not pass leaves the worker as
six patches of colour that flow into each other. It is pleasant to see grow, and no shape is left in
its bytes. Runs on the thread that tells the page of progress, never on the one that draws.
"""

import io
from collections.abc import Callable

from PIL import Image

from inference.safety import FilterUnavailable, ImageVerdict

# The classifier's authors call a score below 0.2 safe with high probability.
CLEAR_SCORE = 0.2
PATCHES = 6  # on the longer side: the picture's light and colours, and no shape
QUALITY = 70

Judge = Callable[[Image.Image], ImageVerdict]


def cover(webp: bytes, judge: Judge) -> bytes:
    """Return the preview if a fast look finds it clear, else the wash of its colours."""
    image = Image.open(io.BytesIO(webp), formats=["WEBP"]).convert("RGB")
    return webp if _is_clear(image, judge) else wash(image)


def wash(image: Image.Image) -> bytes:
    """A WebP of the same size that keeps only where it is light and what colour it has."""
    longer = max(image.size)
    few = [max(2, round(PATCHES * side / longer)) for side in image.size]
    washed = image.resize(few, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    washed.save(buffer, "WEBP", quality=QUALITY, method=0)
    return buffer.getvalue()


def _is_clear(image: Image.Image, judge: Judge) -> bool:
    try:
        verdict = judge(image)
    except FilterUnavailable:
        return False
    return verdict.action == "allow" and verdict.score < CLEAR_SCORE
