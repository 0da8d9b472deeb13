"""The engine as the worker meets it: seeds, steps, previews, cancellation, failures."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from inference import models
from inference.engine import Cancelled, OutOfMemory, RenderFailed, StepProgress
from inference.engine.preview import BYTES_MAX, SIDE_MAX
from inference.engine.render import PipelineEngine
from inference.models import Model, ModelUnavailable
from inference.request import GenerationRequest

Draw = Callable[[GenerationRequest, Model], list[bytes]]
APPLE = GenerationRequest("a red apple", "pocket-turbo", 96, 64, images=1, seed=5)


def ignore(_progress: object) -> None: ...


def never() -> bool:
    return False


def test_pictures_have_the_size_asked_for(engine: PipelineEngine, turbo: Model) -> None:
    (picture,) = engine.render(APPLE, turbo, ignore, never)
    assert picture.mode == "RGB"
    assert picture.size == (96, 64)


def test_picture_i_is_the_picture_of_seed_plus_i_to_the_byte(
    draw: Draw, turbo: Model, raw: Model
) -> None:
    for model in (turbo, raw):
        together = draw(replace(APPLE, images=3), model)
        alone = [draw(replace(APPLE, seed=seed), model)[0] for seed in (5, 6, 7)]
        assert together == alone
        assert len(set(together)) == 3


def test_seeds_wrap_at_32_bits(draw: Draw, turbo: Model) -> None:
    last = replace(APPLE, seed=2**32 - 1, images=2)
    assert draw(last, turbo)[1] == draw(replace(APPLE, seed=0), turbo)[0]


def test_every_step_is_reported_with_a_small_preview(engine: PipelineEngine, turbo: Model) -> None:
    seen: list[StepProgress] = []
    request = replace(APPLE, images=2, width=512, height=256)
    engine.render(request, turbo, seen.append, never)
    assert [(p.step, p.steps, p.picture) for p in seen] == [
        (1, 6, 0), (2, 6, 0), (3, 6, 0), (4, 6, 1), (5, 6, 1), (6, 6, 1),
    ]  # fmt: skip
    for progress in seen:
        assert progress.preview is not None
        webp = progress.preview()
        assert len(webp) <= BYTES_MAX
        preview = Image.open(io.BytesIO(webp))
        assert preview.format == "WEBP"
        assert preview.size == (SIDE_MAX, SIDE_MAX // 2)


def test_cancel_stops_at_the_next_step_and_leaves_no_trace(
    engine: PipelineEngine, draw: Draw, turbo: Model
) -> None:
    before = draw(APPLE, turbo)
    seen: list[StepProgress] = []
    with pytest.raises(Cancelled):
        engine.render(replace(APPLE, images=2), turbo, seen.append, lambda: len(seen) >= 4)
    assert len(seen) == 4
    assert draw(APPLE, turbo) == before


def test_a_request_cancelled_before_it_began_draws_nothing(
    engine: PipelineEngine, turbo: Model
) -> None:
    seen: list[StepProgress] = []
    with pytest.raises(Cancelled):
        engine.render(APPLE, turbo, seen.append, lambda: True)
    assert seen == []


def test_running_out_of_memory_fails_the_one_request_with_a_sentence(
    engine: PipelineEngine, draw: Draw, turbo: Model
) -> None:
    before = draw(APPLE, turbo)

    def fill_memory(_progress: StepProgress) -> None:
        torch.empty(2**60)  # the allocator's own refusal, in the middle of the work

    with pytest.raises(OutOfMemory, match="smaller size"):
        engine.render(APPLE, turbo, fill_memory, never)
    assert draw(APPLE, turbo) == before


def test_what_the_watcher_raises_comes_out_unchanged(
    engine: PipelineEngine, draw: Draw, turbo: Model
) -> None:
    before = draw(APPLE, turbo)

    def lose_the_database(_progress: StepProgress) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        engine.render(APPLE, turbo, lose_the_database, never)
    assert draw(APPLE, turbo) == before


def test_loading_is_reported_once_and_the_build_is_known(weights: Path, turbo: Model) -> None:
    engine, said = PipelineEngine(weights), list[str]()
    engine.load(turbo, said.append)
    engine.load(turbo, said.append)
    assert said == ["Loading Pocket Turbo into the memory of the CPU."]
    assert engine.build.dtype == "float32"
    assert engine.build.torch == torch.__version__


def test_switching_models_and_back_changes_nothing(draw: Draw, turbo: Model, raw: Model) -> None:
    before = draw(APPLE, turbo)
    assert draw(APPLE, raw) != before
    assert draw(APPLE, turbo) == before


def test_missing_weights_are_named(tmp_path: Path, turbo: Model) -> None:
    with pytest.raises(ModelUnavailable, match="Pocket Turbo"):
        PipelineEngine(tmp_path).load(turbo, ignore)


def test_a_hub_model_is_taken_from_the_local_cache(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Draw, turbo: Model
) -> None:
    cached = tmp_path / "hub" / "models--krea--Krea-2-Turbo"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123abcd")
    shutil.copytree(weights / "pocket-turbo", cached / "snapshots" / "0123abcd")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    krea = replace(models.find("krea-2-turbo"), needs_gpu=False, steps=turbo.steps)
    (picture,) = PipelineEngine(tmp_path / "none").render(APPLE, krea, ignore, never)
    assert picture.tobytes() == draw(APPLE, turbo)[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU")
def test_a_model_that_needs_a_gpu_says_so(weights: Path, turbo: Model) -> None:
    with pytest.raises(ModelUnavailable, match="needs a GPU"):
        PipelineEngine(weights).load(replace(turbo, needs_gpu=True), ignore)


@pytest.fixture
def copied(weights: Path, tmp_path: Path) -> Path:
    """A copy of the weights folder, to be damaged."""
    return shutil.copytree(weights, tmp_path / "weights")


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_a_damaged_checkpoint_is_refused(copied: Path, turbo: Model, part: str) -> None:
    (file,) = (copied / "pocket-turbo" / part).glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        PipelineEngine(copied).load(turbo, ignore)


def test_a_model_that_gives_no_numbers_fails_instead_of_drawing_black(
    copied: Path, turbo: Model
) -> None:
    (file,) = (copied / "pocket-turbo" / "transformer").glob("*.safetensors")
    tensors = load_file(file)
    tensors["final_layer.linear.bias"].fill_(float("inf"))
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(RenderFailed, match="another seed"):
        PipelineEngine(copied).render(APPLE, turbo, ignore, never)


OFFLINE_FORK = """
import hashlib, os, sys
from dataclasses import replace
from pathlib import Path

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        os._exit(9)

sys.addaudithook(refuse)
from inference import models
from inference.engine.render import PipelineEngine
from inference.request import GenerationRequest

child = os.fork()
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
model = replace(models.find("pocket-turbo"), steps=3)
request = GenerationRequest("a red apple", "pocket-turbo", 96, 64, images=1, seed=5)
pictures = PipelineEngine(Path(sys.argv[1])).render(request, model, print, lambda: False)
sys.stdout.write("pixels " + hashlib.sha256(pictures[0].tobytes()).hexdigest())
"""


def test_a_forked_child_draws_the_same_picture_and_asks_no_network(
    weights: Path, draw: Draw, turbo: Model
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE_FORK, str(weights)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(models.__file__).parent.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # as here: sums round by their order
    )
    assert run.returncode == 0, run.stderr
    expected = hashlib.sha256(draw(APPLE, turbo)[0]).hexdigest()
    assert run.stdout.endswith(f"pixels {expected}")
