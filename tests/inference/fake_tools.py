"""FAKE engine and filter for tests of the worker: plain colours, no model, no torch.

Nothing in the product refers to this file; `fake_worker.py` beside it hands it to the real worker.
Words in the prompt choose what happens: "refuse 1" marks picture 1 so that the fake filter blocks
it, "stop", "doubt" and "unread" are for the fake prompt filter, "wait" holds the job at its second
step until it is cancelled or the file `go` appears in the state folder, "fault" raises an error
nobody expects, "unfiltered" makes the filter unavailable, "judge late" makes the filter wait for
the file `judged`. A file named after the GPUs that the process may see appears beside them.
"""

import io
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from inference import gpus
from inference.engine import Build, Cancelled, Conditioning, Latents, StepProgress
from inference.models import Model
from inference.process import Tools
from inference.request import GenerationRequest
from inference.safety import FilterUnavailable, ImageVerdict
from inference.safety.prompt import PromptJudgement
from inference.settings import Settings

BLOCKED = (255, 0, 0)
UNFILTERED = (0, 0, 255)
LATE = (0, 255, 255)
PASSED = (90, 160, 90)


def fake_preview() -> bytes:
    """What the fake filter lets through, with an edge in it."""
    picture = Image.new("RGB", (64, 64), PASSED)
    picture.paste((255, 255, 255), (32, 0, 64, 64))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


class FakeEngine:
    build = Build(engine="fake", torch="none", diffusers="none", dtype="none", device="cpu")
    overlaps = True

    def __init__(self, state_folder: Path) -> None:
        self.go = state_folder / "go"
        self.loads = 0

    def load(self, model: Model, report: Callable[[str], None]) -> None:
        self.loads += 1
        report(f"Loading the fake of {model.name}.")

    def encode(self, request: GenerationRequest, model: Model) -> Conditioning:
        return Conditioning(f"{request.prompt} by {model.id}")

    def denoise(
        self,
        conditioning: Conditioning,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Latents]:
        assert conditioning == self.encode(request, model)
        steps = request.images * model.steps
        for step in range(1, steps + 1):
            if cancelled():
                raise Cancelled
            on_step(StepProgress(step, steps, fake_preview, (step - 1) // model.steps))
            while step == 2 and "wait" in request.prompt and not self.go.exists():
                if cancelled():
                    raise Cancelled
                time.sleep(0.01)
        if "fault" in request.prompt:
            raise ZeroDivisionError("a fault of the fake engine")
        refused = {int(index) for index in re.findall(r"refuse (\d)", request.prompt)}
        passed = LATE if "judge late" in request.prompt else PASSED
        passed = UNFILTERED if "unfiltered" in request.prompt else passed
        colours = [BLOCKED if index in refused else passed for index in range(request.images)]
        return [Latents(colour, request.width, request.height) for colour in colours]

    def decode(self, latents: Sequence[Latents]) -> list[Image.Image]:
        return [Image.new("RGB", (one.width, one.height), one.tensor) for one in latents]

    def render(
        self,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Image.Image]:
        self.load(model, lambda _sentence: None)
        conditioning = self.encode(request, model)
        return self.decode(self.denoise(conditioning, request, model, on_step, cancelled))


class FakeFilter:
    is_local = True

    def __init__(self, state_folder: Path) -> None:
        self.judged = state_folder / "judged"

    def load(self) -> None:
        pass

    def check(self, image: Image.Image) -> ImageVerdict:
        colour = image.getpixel((0, 0))
        if colour == UNFILTERED:
            raise FilterUnavailable("The fake filter is not there.")
        while colour == LATE and not self.judged.exists():
            time.sleep(0.01)
        if colour == BLOCKED:
            return ImageVerdict("block", "sexual", 0.99, "fake-filter")
        return ImageVerdict("allow", None, 0.01, "fake-filter")


class FakePromptFilter:
    def load(self) -> None:
        pass

    def check(self, prompt: str) -> PromptJudgement:
        if "unread" in prompt:
            raise FilterUnavailable("The fake prompt filter is not there.")
        if "stop" in prompt:
            return PromptJudgement("block", "hate", 0.98, "fake-classifier")
        if "doubt" in prompt:
            return PromptJudgement("review", "harassment", 0.6, "fake-classifier")
        return PromptJudgement("allow", None, 0.01, "fake-classifier")


def fake_tools(settings: Settings) -> Tools:
    if gpus.VISIBLE in os.environ:
        (settings.state_folder / f"saw {os.environ[gpus.VISIBLE]}").touch()
    return Tools(
        engine=FakeEngine(settings.state_folder),
        prompt_filter=FakePromptFilter(),
        image_filter=FakeFilter(settings.state_folder),
    )
