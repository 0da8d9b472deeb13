"""The engine's face: what a renderer is, what it reports, how it fails. Loads no torch.

`inference.engine.render.PipelineEngine` is the renderer that serves; tests of the worker bring one
of their own. Import `render` only inside the process that will draw: it costs seconds, and a
process that has run torch once must not fork afterwards (the children would hang in its threads).
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
ENGINE_VERSION = "4"


@dataclass(frozen=True)
class StepProgress:
    """One denoising step is done.

    `step` runs from 1 to `steps` over all pictures of the request, `picture` is the index of the
    one being made. `preview` makes a WebP of at most `preview.BYTES_MAX` bytes when it is called:
    by another thread, once or never, so that a picture nobody will see costs nothing.
    """

    step: int
    steps: int
    preview: Callable[[], bytes] | None
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


@dataclass(frozen=True)
class Conditioning:
    """A prompt as the text encoder left it; only the engine that made it can read `tensors`."""

    tensors: Any


def _nothing() -> None: ...


@dataclass(frozen=True)
class Latents:
    """One denoised picture before it is decoded: 1/48 of its bytes, and still on the device.

    Its last step may still run. `settle` waits for that and reports it; `decode` calls it.
    """

    tensor: Any
    width: int  # pixels
    height: int  # pixels
    settle: Callable[[], None] = _nothing


class Engine(Protocol):
    """Renders requests in one process, in three stages that the worker lays over each other.

    Each stage is called by one thread at a time, and different stages at once for different
    requests of the same model. `load` is called while no stage runs.
    """

    @property
    def build(self) -> Build:
        """What draws; known once a model is loaded."""

    @property
    def overlaps(self) -> bool:
        """Whether the other stages beside a request's `denoise` gain time, and fit into memory."""

    def load(self, model: Model, report: Callable[[str], None]) -> None:
        """Make `model` ready and say in sentences what takes the time.

        Raises ModelUnavailable when its weights are missing, unreadable, or need another machine.
        """

    def encode(self, request: GenerationRequest, model: Model) -> Conditioning:
        """The prompt as the transformer takes it. `model` is loaded. Raises OutOfMemory."""

    def denoise(
        self,
        conditioning: Conditioning,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Latents]:
        """The latents of each picture in order; picture i uses seed + i.

        On a card it returns when the last step was started, so that the next request's first one
        follows without a gap. Raises Cancelled within one step of `cancelled()` turning true,
        OutOfMemory.
        """

    def decode(self, latents: Sequence[Latents]) -> list[Image]:
        """The pictures, RGB, in order; waits for the last step and reports it.

        Raises OutOfMemory, Cancelled, and RenderFailed if the steps came to no picture.
        """

    def render(
        self,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Image]:
        """The three stages in order, and `load` before them: for who draws one thing at a time."""
