"""Untrained tiny checkpoints and one thread, shared by the tests of the trainers."""

from pathlib import Path

import pytest
import torch

from inference.training import folder

CAPTIONS = ["a red apple, flat style, on a blue background", "a green fox above a car", "two dogs"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Matrices this small gain nothing from threads, and tests share their cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint folder whose transformer answers something (training starts from zero)."""
    out = tmp_path_factory.mktemp("untrained")
    parts = folder.build(folder.read_config("tiny")["model"], CAPTIONS, seed=0)
    torch.nn.init.normal_(parts.transformer.final_layer.linear.weight, std=0.05)
    folder.save(parts, out, is_distilled=False)
    return out
