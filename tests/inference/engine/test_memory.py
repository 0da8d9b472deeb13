"""Out of memory through the worker: that job fails with a sentence, and the next one is drawn."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_tools import fake_tools
from jobs import TOP_UP_MICROS, Desk
from PIL import Image

from inference.engine import Conditioning, Latents, StepProgress
from inference.engine.device import memory_errors_explained
from inference.engine.render import PipelineEngine
from inference.job import generate, take
from inference.models import Model
from inference.process import Tools, WorkerProcess
from inference.request import GenerationRequest
from inference.settings import Settings

PRICE_MICROS = 15_000
STAGES = ("encoding", "drawing", "decoding", "a machine")


class Hungry(PipelineEngine):
    """The real engine; a prompt that names a stage finds the memory full there.

    As a GPU says it, and for "a machine" as the CPU's own allocator does.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__(weights)
        self.asked = ""

    def encode(self, request: GenerationRequest, model: Model) -> Conditioning:
        self.asked = request.prompt
        with memory_errors_explained("A prompt"):
            refuse("encoding" in request.prompt)
        return super().encode(request, model)

    def denoise(
        self,
        conditioning: Conditioning,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Latents]:
        def eat(progress: StepProgress) -> None:
            on_step(progress)
            refuse(progress.step == 2 and "drawing" in request.prompt)
            if progress.step == 2 and "machine" in request.prompt:
                torch.empty(2**60)

        return super().denoise(conditioning, request, model, eat, cancelled)

    def decode(self, latents: Sequence[Latents]) -> list[Image.Image]:
        with memory_errors_explained("A picture"):
            refuse("decoding" in self.asked)
        return super().decode(latents)


def refuse(yes: bool) -> None:  # noqa: FBT001 - read as a sentence
    if yes:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture
def process(database_url: str, tmp_path: Path, weights: Path) -> Iterator[WorkerProcess]:
    settings = Settings(
        database_url=database_url,
        broker_url="redis://unused",
        state_folder=tmp_path,
        weights_folder=weights,
        worker_classes=("pocket",),
    )

    def tools(given: Settings) -> Tools:
        return replace(fake_tools(given), engine=Hungry(given.weights_folder))

    process = WorkerProcess(settings, tools)
    process.begin()
    yield process
    process.end()


def test_a_job_out_of_memory_fails_alone_and_the_next_is_the_same_to_the_byte(
    desk: Desk, process: WorkerProcess
) -> None:
    before = desk.queue("a red apple", seed=3)
    generate(process, before.id)
    jobs = [desk.queue(prompt, seed=3) for prompt in (*STAGES, "a red apple")]
    for job in [take(process, one.id) for one in jobs]:
        assert job is not None
        assert job.is_over.wait(60)
    rows = [desk.read(one.id) for one in jobs]
    assert [row.state for row in rows] == [*["failed"] * len(STAGES), "finished"]
    for row in rows[:-1]:
        assert row.error_code == "out_of_memory"
        assert "smaller size" in str(row.error_message)
    first, last = (thumbnail(process, desk, job.id) for job in (before, jobs[-1]))
    assert first == last
    assert desk.balance().settled_micros == TOP_UP_MICROS - 2 * PRICE_MICROS
    assert desk.balance().held_micros == 0


def thumbnail(process: WorkerProcess, desk: Desk, generation_id: uuid.UUID) -> bytes:
    (picture,) = desk.read(generation_id).pictures
    with Image.open(process.storage.path(str(picture.thumbnail_key))) as image:
        return image.tobytes()
