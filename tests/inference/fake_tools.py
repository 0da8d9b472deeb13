"""FAKE engine and filter for tests of the worker: plain colours, no model, no torch.

Nothing in the product refers to this file; `fake_worker.py` beside it hands it to the real worker.
Words in the prompt choose what happens: "refuse 1" marks picture 1 so that the fake filter blocks
it, "wait" holds the job at its second step until it is cancelled or the file `go` appears in the
state folder, "fault" raises an error nobody expects, "unfiltered" makes the filter unavailable.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from inference.engine import Build, Cancelled, StepProgress
from inference.models import Model
from inference.process import Tools
from inference.request import GenerationRequest
from inference.safety import FilterUnavailable, ImageVerdict
from inference.settings import Settings

BLOCKED = (255, 0, 0)
UNFILTERED = (0, 0, 255)
PASSED = (90, 160, 90)


class FakeEngine:
    build = Build(engine="fake", torch="none", diffusers="none", dtype="none", device="cpu")

    def __init__(self, state_folder: Path) -> None:
        self.go = state_folder / "go"
        self.loads = 0

    def load(self, model: Model, report: Callable[[str], None]) -> None:
        self.loads += 1
        report(f"Loading the fake of {model.name}.")

    def render(
        self,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Image.Image]:
        steps = request.images * model.steps
        for step in range(1, steps + 1):
            if cancelled():
                raise Cancelled
            on_step(StepProgress(step, steps, b"RIFF fake preview", (step - 1) // model.steps))
            while step == 2 and "wait" in request.prompt and not self.go.exists():
                if cancelled():
                    raise Cancelled
                time.sleep(0.01)
        if "fault" in request.prompt:
            raise ZeroDivisionError("a fault of the fake engine")
        refused = {int(index) for index in re.findall(r"refuse (\d)", request.prompt)}
        passed = UNFILTERED if "unfiltered" in request.prompt else PASSED
        size = (request.width, request.height)
        return [
            Image.new("RGB", size, BLOCKED if index in refused else passed)
            for index in range(request.images)
        ]


class FakeFilter:
    def load(self) -> None:
        pass

    def check(self, image: Image.Image) -> ImageVerdict:
        colour = image.getpixel((0, 0))
        if colour == UNFILTERED:
            raise FilterUnavailable("The fake filter is not there.")
        if colour == BLOCKED:
            return ImageVerdict("block", "sexual", 0.99, "fake-filter")
        return ImageVerdict("allow", None, 0.01, "fake-filter")


def fake_tools(settings: Settings) -> Tools:
    return Tools(engine=FakeEngine(settings.state_folder), image_filter=FakeFilter())
