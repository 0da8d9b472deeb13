"""Falconsai's NSFW classifier as a further picture filter, from a folder that the operator names.

ATELIER_FALCONSAI is a folder with the checkpoint of Falconsai/nsfw_image_detection (Apache-2.0), or
of any image classifier in the same form that has a label "nsfw". Nothing is fetched.
"""

from pathlib import Path
from typing import Any

from PIL.Image import Image

from inference.safety import FilterUnavailable, ImageVerdict
from inference.safety.image import BLOCK_SCORE, REVIEW_SCORE

LABEL = "nsfw"
SOURCE = "falconsai"
FAULTS = (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)


class FalconsaiFilter:
    """Judges pictures by one score."""

    is_local = True

    def __init__(self, folder: str) -> None:
        """Remember the folder; load nothing yet."""
        self._folder = folder
        self._parts: tuple[Any, Any, int] | None = None

    def load(self) -> None:
        """Load processor and model, once. Raises `FilterUnavailable`."""
        if self._parts is not None:
            return
        if not self._folder or not Path(self._folder).is_dir():
            raise FilterUnavailable(
                "The picture filter falconsai was asked for, but ATELIER_FALCONSAI names no "
                "folder, so no picture can be made. Put its checkpoint there."
            )
        try:
            from transformers import (  # noqa: PLC0415 - takes seconds, and only where asked for
                AutoImageProcessor,
                AutoModelForImageClassification,
            )

            where = {"local_files_only": True, "use_safetensors": True}
            processor = AutoImageProcessor.from_pretrained(self._folder, local_files_only=True)
            model = AutoModelForImageClassification.from_pretrained(self._folder, **where).eval()
            labels = {
                str(name).lower(): int(place) for name, place in model.config.label2id.items()
            }
            self._parts = processor, model, labels[LABEL]
        except FAULTS as error:
            raise FilterUnavailable(
                "The picture filter falconsai cannot load, so no picture can be made: "
                f"ATELIER_FALCONSAI holds no image classifier with a label “{LABEL}”."
            ) from error

    def check(self, image: Image) -> ImageVerdict:
        """Judge one picture. Raises `FilterUnavailable`."""
        self.load()
        assert self._parts is not None
        processor, model, place = self._parts
        try:
            import torch  # noqa: PLC0415 - the model has brought it

            with torch.inference_mode():
                logits = model(**processor(images=image.convert("RGB"), return_tensors="pt")).logits
            score = float(logits.float().softmax(-1)[0, place])
        except FAULTS as error:
            raise FilterUnavailable(
                "The picture filter falconsai failed, so this picture cannot be shown."
            ) from error
        if not 0 <= score <= 1:  # not-a-number compares false as well
            raise FilterUnavailable("The picture filter falconsai gave no valid score.")
        if score >= BLOCK_SCORE:
            return ImageVerdict("block", "sexual", score, SOURCE)
        if score >= REVIEW_SCORE:
            return ImageVerdict("review", "sexual", score, SOURCE)
        return ImageVerdict("allow", None, score, SOURCE)
