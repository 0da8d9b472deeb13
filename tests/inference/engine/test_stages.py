"""Encode, denoise and decode one after the other are what stock diffusers does in one call."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import Krea2Pipeline

from inference.engine.render import PipelineEngine
from inference.models import Model
from inference.request import GenerationRequest

APPLE = GenerationRequest("a red apple", "pocket-raw", 96, 64, images=1, seed=5)


@pytest.mark.parametrize("name", ["turbo", "raw"])
def test_the_stages_draw_the_picture_of_one_call_of_the_stock_pipeline(
    engine: PipelineEngine, weights: Path, request: pytest.FixtureRequest, name: str
) -> None:
    model: Model = request.getfixturevalue(name)
    pipeline = Krea2Pipeline.from_pretrained(
        weights / model.source, dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    (whole,) = pipeline(
        APPLE.prompt,
        width=APPLE.width,
        height=APPLE.height,
        num_inference_steps=model.steps,
        guidance_scale=model.guidance,
        generator=torch.Generator().manual_seed(APPLE.seed),
    ).images
    engine.load(model, lambda _sentence: None)
    conditioning = engine.encode(APPLE, model)
    latents = engine.denoise(conditioning, APPLE, model, lambda _step: None, lambda: False)
    (staged,) = engine.decode(latents)
    levels = [np.asarray(picture, np.int16) for picture in (staged, whole)]
    assert levels[1].std() > 1
    assert np.abs(levels[0] - levels[1]).max() <= 1  # a value on the edge of two levels
