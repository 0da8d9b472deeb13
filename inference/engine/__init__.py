"""The engine's face: what a renderer is, what it reports, how it fails. Loads no torch.

`inference.engine.render.PipelineEngine` is the renderer that serves; tests of the worker bring one
of their own. Import `render` only inside the process that will draw: it costs seconds, and a
process that has run torch once must not fork afterwards (the children would hang in its threads).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Image

from inference.models import Model
from inference.request import GenerationRequest
from licensing.errors import AtelierError

# The Hugging Face libraries read these once, when they are first imported. Nothing leaves the
# machine unless the operator says otherwise: weights are put in place by `hf download`, not by us.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# Read when torch is loaded. Its threads would otherwise spin while they wait for each other: with
# a web server, a database and a browser on the same cores that made a picture 3 to 6 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Raised by one whenever a change here may change a pixel; stored in every file.
ENGINE_VERSION = "1"


@dataclass(frozen=True)
class StepProgress:
    """One denoising step is done.

    `step` runs from 1 to `steps` over all pictures of the request, `picture` is the index of the
    one being made, `preview_webp` a WebP of at most `preview.BYTES_MAX` bytes, or None.
    """

    step: int
    steps: int
    preview_webp: bytes | None
    picture: int = 0


@dataclass(frozen=True)
class Build:
    """What drew a picture: with the request and the seed, enough to draw it again to the byte."""

    engine: str
    torch: str
    diffusers: str
    dtype: str
    device: str


class Cancelled(Exception):  # noqa: N818 - an answer to a wish, not an error
    """The person cancelled; the engine stopped at the next step and kept nothing."""


class RenderFailed(AtelierError):  # noqa: N818 - reads as the outcome that it is
    """The model ran and made no usable picture."""

    code = "render_failed"
    status = 503


class OutOfMemory(RenderFailed):
    """The request did not fit into memory; the next one finds the engine free again."""

    code = "out_of_memory"


class Engine(Protocol):
    """Renders requests, one at a time, in one process."""

    @property
    def build(self) -> Build:
        """What draws; known once a model is loaded."""

    def load(self, model: Model, report: Callable[[str], None]) -> None:
        """Make `model` ready and say in sentences what takes the time.

        Raises ModelUnavailable when its weights are missing, unreadable, or need another machine.
        """

    def render(
        self,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Image]:
        """The pictures of `request` in order; picture i uses seed + i.

        Raises Cancelled within one step of `cancelled()` turning true, OutOfMemory, RenderFailed.
        """
