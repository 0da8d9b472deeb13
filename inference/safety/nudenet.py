"""NudeNet as a further picture filter: which uncovered parts of a body it finds, and how surely.

The package `nudenet` (MIT, weights inside) is not among ours: it brings OpenCV. Whoever wants it
installs it beside the worker. It is a nudity detector, and knows nothing of age or consent.
"""

import importlib
import io
from typing import Any

from PIL.Image import Image

from inference.safety import FilterUnavailable, ImageVerdict

EXPLICIT = frozenset(
    {
        "FEMALE_GENITALIA_EXPOSED",
        "MALE_GENITALIA_EXPOSED",
        "ANUS_EXPOSED",
        "FEMALE_BREAST_EXPOSED",
        "BUTTOCKS_EXPOSED",
    }
)
# It reports what it holds to be above 0.2; its makers take 0.6 for their own censoring.
BLOCK_SCORE, REVIEW_SCORE = 0.6, 0.35
SOURCE = "nudenet"
# What a wheel of native code raises when a file or a library is missing or damaged.
FAULTS = (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)


class NudeNetFilter:
    """Judges pictures by the parts that it finds."""

    is_local = True

    def __init__(self) -> None:
        """Load nothing yet."""
        self._detector: Any = None

    def load(self) -> None:
        """Load the detector, once. Raises `FilterUnavailable`."""
        if self._detector is not None:
            return
        try:
            self._detector = importlib.import_module("nudenet").NudeDetector()
        except FAULTS as error:
            raise FilterUnavailable(
                "The picture filter NudeNet was asked for and cannot load, so no picture can be "
                "made. Install the package nudenet beside the worker and restart it."
            ) from error

    def check(self, image: Image) -> ImageVerdict:
        """Judge one picture. Raises `FilterUnavailable`."""
        self.load()
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "PNG", compress_level=1)
        try:
            found = self._detector.detect(buffer.getvalue())
            scores = [float(part["score"]) for part in found if part["class"] in EXPLICIT]
        except FAULTS as error:
            raise FilterUnavailable(
                "The picture filter NudeNet failed, so this picture cannot be shown."
            ) from error
        score = max(scores, default=0.0)
        if not 0 <= score <= 1:
            raise FilterUnavailable("The picture filter NudeNet gave no valid score.")
        if score >= BLOCK_SCORE:
            return ImageVerdict("block", "sexual", score, SOURCE)
        if score >= REVIEW_SCORE:
            return ImageVerdict("review", "sexual", score, SOURCE)
        return ImageVerdict("allow", None, score, SOURCE)
