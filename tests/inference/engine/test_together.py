"""One picture drawn by two processes, through the engine's door: on a CPU, over gloo."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import torch
from lora_layouts import LINE, ROOT

from inference import models
from inference.engine import OutOfMemory, ranks
from inference.engine.render import PipelineEngine
from inference.engine.transformer import parallel
from inference.models import Model, ModelUnavailable
from inference.request import AdapterUse, GenerationRequest

WEIGHTS = ROOT / "weights"
MODEL = replace(models.find("pocket-turbo"), steps=2)
RAW = replace(models.find("pocket-raw"), steps=2)
APPLE = GenerationRequest("a red apple", MODEL.id, 96, 128, images=1, seed=5)
# 13 x 8 tokens and those of its text: 141 rows, which two processes cannot share evenly.
UNEVEN = GenerationRequest("a green fox", MODEL.id, 208, 128, images=2, seed=7)
TOLERANCE = 1e-5
SECONDS_MAX = 60.0
DRAW = """
import sys
from pathlib import Path
from inference import models
from inference.engine.render import PipelineEngine
from inference.request import GenerationRequest

engine = PipelineEngine(Path(sys.argv[1]), together=2)
model = models.find("pocket-turbo")
request = GenerationRequest("a green fox", model.id, 128, 128, images=4, seed=7)
while True:
    engine.render(request, model, lambda step: print(step.step, flush=True), lambda: False)
"""
STUCK = """
import sys, threading
from pathlib import Path
from torch import distributed
from inference import models
from inference.engine import ranks
from inference.engine.render import PipelineEngine

ranks.LEAVE_SECONDS = 0.5
distributed.destroy_process_group = threading.Event().wait  # as a card's may, without the others
engine = PipelineEngine(Path(sys.argv[1]), together=2)
engine.load(models.find("pocket-turbo"), print)
engine.unload()
"""


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the LoRA that ships."""
    folder = tmp_path_factory.mktemp("adapters")
    shutil.copy(LINE, folder / f"{sha256()}.safetensors")
    return folder


@pytest.fixture(scope="module")
def alone(adapters: Path) -> PipelineEngine:
    return PipelineEngine(WEIGHTS, adapters_folder=adapters)


@pytest.fixture
def together(adapters: Path) -> Iterator[PipelineEngine]:
    engine = PipelineEngine(WEIGHTS, adapters_folder=adapters, together=2)
    yield engine
    engine.unload()
    assert not others(os.getpid())


def sha256() -> str:
    return hashlib.sha256(LINE.read_bytes()).hexdigest()


def others(pid: int) -> list[psutil.Process]:
    """The ranks of a process."""
    children = psutil.Process(pid).children()
    return [child for child in children if "inference.engine.rank" in child.cmdline()]


def latents(engine: PipelineEngine, request: GenerationRequest, model: Model) -> torch.Tensor:
    engine.load(model, lambda _sentence: None)
    states = engine.encode(request, model)
    made = engine.denoise(states, request, model, lambda _step: None, lambda: False)
    return torch.cat([one.tensor for one in made])


def test_the_latents_are_those_of_one_process(
    alone: PipelineEngine, together: PipelineEngine
) -> None:
    """Sizes, prompts and strengths in turns; the guided model after the other."""
    line = AdapterUse(sha256(), 0.8)
    for request, model in [
        (APPLE, MODEL),
        (replace(APPLE, adapters=(line,)), MODEL),
        (replace(UNEVEN, adapters=(replace(line, strength=0.3),)), MODEL),
        (UNEVEN, MODEL),
        (replace(APPLE, model=RAW.id), RAW),
    ]:
        expected = latents(alone, request, model)
        assert float((latents(together, request, model) - expected).abs().max()) <= (
            TOLERANCE * float(expected.abs().max())
        )
        assert len(others(os.getpid())) == 1
    assert together.build.device == "2 cpu"


@pytest.mark.parametrize(
    ("module", "name"),
    [(ranks, "spread"), (parallel, "_exchange"), (parallel, "_collect")],
    ids=["while its LoRA travels", "in a block", "at the end"],
)
def test_after_an_error_the_next_picture_is_drawn_as_ever(
    together: PipelineEngine, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    line = replace(APPLE, adapters=(AdapterUse(sha256(), 0.8),))
    before = latents(together, line, MODEL)

    def refused(*_given: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    with monkeypatch.context() as patched:
        patched.setattr(module, name, refused)  # the other process waits for it
        with pytest.raises(OutOfMemory):
            latents(together, line, MODEL)
    assert torch.equal(latents(together, line, MODEL), before)


def test_a_process_that_cannot_load_is_a_model_that_is_not_available(
    together: PipelineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelUnavailable, match="Process 2 of the 2"):
        together.load(MODEL, lambda _sentence: None)
    monkeypatch.undo()
    latents(together, APPLE, MODEL)


@pytest.mark.parametrize("killed", ["this one", "the other"])
def test_when_one_process_is_killed_the_others_end(killed: str) -> None:
    drawing = subprocess.Popen(
        [sys.executable, "-c", DRAW, str(WEIGHTS)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert drawing.stdout is not None
        assert drawing.stdout.readline() == "1\n"
        (other,) = others(drawing.pid)
        os.kill(drawing.pid if killed == "this one" else other.pid, signal.SIGKILL)
        assert drawing.wait(SECONDS_MAX) == -signal.SIGKILL
        until = time.monotonic() + SECONDS_MAX
        while other.is_running() and other.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        drawing.kill()
        drawing.communicate()


def test_a_process_that_cannot_leave_the_others_ends() -> None:
    stuck = subprocess.run(
        [sys.executable, "-c", STUCK, str(WEIGHTS)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert stuck.returncode == -signal.SIGKILL
