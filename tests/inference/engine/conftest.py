"""A weights folder with tiny random checkpoints of the real classes, and an engine on it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from inference import models
from inference.engine import StepProgress
from inference.engine.render import PipelineEngine
from inference.models import Model
from inference.request import GenerationRequest
from inference.training import folder

STEPS = 3


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Matrices this small gain nothing from threads, and tests share their cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pocket-turbo` and `pocket-raw`, untrained but with nothing at zero."""
    root = tmp_path_factory.mktemp("weights")
    captions = ["a red apple, flat style, on a blue background", "a green fox", "two dogs"]
    parts = folder.build(folder.read_config("tiny")["model"], captions, seed=0)
    _fill_zeros(parts.transformer)
    folder.save(parts, root / "pocket-turbo", is_distilled=True)
    folder.save(parts, root / "pocket-raw", is_distilled=False)
    return root


def _fill_zeros(module: nn.Module) -> None:
    """Training starts with a zero output; a comparison of zeros would compare nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(0.0, 0.1, generator=generator)


@pytest.fixture(scope="session")
def turbo() -> Model:
    return replace(models.find("pocket-turbo"), steps=STEPS)


@pytest.fixture(scope="session")
def raw() -> Model:
    return replace(models.find("pocket-raw"), steps=STEPS)


@pytest.fixture(scope="session")
def engine(weights: Path) -> PipelineEngine:
    return PipelineEngine(weights)


@pytest.fixture(scope="session")
def draw(engine: PipelineEngine) -> Callable[[GenerationRequest, Model], list[bytes]]:
    """Pixels of a request, with nobody watching."""

    def pixels(request: GenerationRequest, model: Model) -> list[bytes]:
        def on_step(_progress: StepProgress) -> None: ...

        return [image.tobytes() for image in engine.render(request, model, on_step, lambda: False)]

    return pixels
