"""The pocket weights of this repository through the engine: what a person sees after `make run`."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference import models
from inference.engine import StepProgress
from inference.engine.render import PipelineEngine
from inference.models import Model
from inference.request import GenerationRequest
from inference.safety.image import ImageFilter

WEIGHTS = Path(models.__file__).parent.parent / "weights"
PROMPT = "a red apple, flat style, on a blue background"
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def turbo() -> Model:
    return models.find("pocket-turbo")


@pytest.fixture(scope="module")
def apples(turbo: Model) -> tuple[list[Image.Image], list[StepProgress]]:
    """Three pictures of the prompt and every step on the way."""
    seen: list[StepProgress] = []
    request = GenerationRequest(PROMPT, turbo.id, 256, 256, images=len(SEEDS), seed=SEEDS[0])
    engine = PipelineEngine(WEIGHTS)
    return engine.render(request, turbo, seen.append, lambda: False), seen


def colours(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Mean RGB of the outer frame and of the middle."""
    pixels = np.asarray(picture, float)
    frame = np.ones(pixels.shape[:2], bool)
    frame[16:-16, 16:-16] = False
    return pixels[frame].mean(0), pixels[96:160, 96:160].reshape(-1, 3).mean(0)


def test_a_red_apple_on_blue_is_red_on_blue(
    apples: tuple[list[Image.Image], list[StepProgress]],
) -> None:
    for picture in apples[0]:
        background, subject = colours(picture)
        assert background.argmax() == 2, background
        assert subject.argmax() == 0, subject


def test_the_last_preview_looks_like_the_picture(
    apples: tuple[list[Image.Image], list[StepProgress]], turbo: Model
) -> None:
    pictures, seen = apples
    for index, picture in enumerate(pictures):
        last = seen[(index + 1) * turbo.steps - 1]
        assert last.picture == index
        assert last.preview is not None
        preview = Image.open(io.BytesIO(last.preview()))
        small = picture.resize(preview.size, Image.Resampling.BOX)
        difference = np.abs(np.asarray(small, float) - np.asarray(preview.convert("RGB"), float))
        assert difference.mean() < 25


def test_the_output_filter_lets_apples_pass(
    apples: tuple[list[Image.Image], list[StepProgress]],
) -> None:
    judge = ImageFilter()
    assert {judge.check(picture).action for picture in apples[0]} == {"allow"}
