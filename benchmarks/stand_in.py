"""A worker whose device is a stand-in: grey noise, S seconds a step, and no time of the CPU's.

All else is what serves: filters, marks, files, database and broker. Run by `waiting.py`, which
gives the seconds and puts the checkout to be measured on the path.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image

from inference.engine import Build, Cancelled, Conditioning, Latents, StepProgress
from inference.models import Model
from inference.request import GenerationRequest
from inference.settings import from_environment
from inference.worker import load_tools, run_worker


class Device:
    """Waits as a device would, and has nothing to compute."""

    build = Build("stand-in", "none", "none", "none", "none")
    overlaps = True

    def __init__(self, step_seconds: float) -> None:
        """Remember the pace."""
        self._step_seconds = step_seconds

    def load(self, model: Model, report: Callable[[str], None]) -> None:
        """Be there at once."""

    def encode(self, request: GenerationRequest, model: Model) -> Conditioning:  # noqa: ARG002
        """Pass the words on."""
        return Conditioning(request.prompt)

    def denoise(
        self,
        conditioning: Conditioning,  # noqa: ARG002
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Latents]:
        """Let the steps' time pass."""
        steps = model.steps * request.images
        for step in range(1, steps + 1):
            time.sleep(self._step_seconds)
            if cancelled():
                raise Cancelled
            on_step(StepProgress(step, steps, None))
        return [Latents(None, request.width, request.height)] * request.images

    def decode(self, latents: Sequence[Latents]) -> list[Image.Image]:
        """Noise, which no filter minds."""
        sizes = [(one.width, one.height) for one in latents]
        return [Image.effect_noise(size, 40).convert("RGB") for size in sizes]

    def render(
        self,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Image.Image]:
        """The stages in order."""
        conditioning = self.encode(request, model)
        return self.decode(self.denoise(conditioning, request, model, on_step, cancelled))


if __name__ == "__main__":
    device = Device(float(sys.argv[1]))
    run_worker(from_environment(os.environ), lambda s: replace(load_tools(s), engine=device))
