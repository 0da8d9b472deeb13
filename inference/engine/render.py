"""The engine that serves: one request in, its pictures out, by diffusers' own Krea 2 pipeline.

One per process, made after any fork. Pictures of a request are drawn one after the other, so that
a picture has the same bytes alone and in company (matrix kernels round differently for other batch
sizes), a cancelled request stops within one step, and memory is that of one picture. Each has its
own generator on the device, as in Krea's reference code, so that seeds mean the same there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from inference import models
from inference.engine import Build, Cancelled, RenderFailed, StepProgress
from inference.engine.device import free, memory_errors_explained, pick
from inference.engine.load import build_of, load_pipeline
from inference.engine.preview import Preview, fit
from inference.engine.text import TrimmedPipeline
from inference.models import Model, ModelUnavailable
from inference.request import GenerationRequest, picture_seed


@dataclass(frozen=True)
class Loaded:
    """One model in memory."""

    model: Model
    pipeline: TrimmedPipeline
    preview: Preview
    build: Build


class PipelineEngine:
    """Keeps one model in memory and draws with it. Not thread-safe: one job at a time."""

    def __init__(self, weights_folder: Path) -> None:
        """Look for checkpoints in `weights_folder` and in the hub's local cache. Loads nothing."""
        self._weights_folder = weights_folder
        self._loaded: Loaded | None = None

    @property
    def build(self) -> Build:
        """What draws. Raises RuntimeError before the first `load`."""
        if self._loaded is None:
            raise RuntimeError("no model is loaded yet")
        return self._loaded.build

    def load(self, model: Model, report: Callable[[str], None]) -> None:
        """Make `model` ready, in place of the one that was; nothing to do if it is there already.

        Raises ModelUnavailable when its weights are missing or unreadable, or need a GPU.
        """
        if self._loaded is not None and self._loaded.model == model:
            return
        self._loaded = None  # two large models would not fit side by side
        free()
        folder = models.locate(model, self._weights_folder)
        if folder is None:
            problem = models.weights_problem(model, self._weights_folder)
            raise ModelUnavailable(problem or f"The weights of {model.name} are missing.")
        device = pick(model)
        report(f"Loading {model.name} into the memory of {device.name}.")
        with memory_errors_explained(model.name):
            pipeline = load_pipeline(folder, device)
            self._loaded = Loaded(model, pipeline, fit(pipeline.vae), build_of(device))

    def render(
        self,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Image]:
        """The pictures of `request`, RGB, in order; loads `model` if it is not there.

        An exception of `on_step` or `cancelled` stops the work and comes out unchanged. Whatever
        comes out, the next call draws as if this one had not been.
        """
        self.load(model, lambda _sentence: None)
        assert self._loaded is not None
        watch = _Watch(request, self._loaded, on_step, cancelled)
        size = f"{request.width} x {request.height}"
        with memory_errors_explained(f"A picture of {size} by {model.name}"):
            return _draw(self._loaded.pipeline, request, model, watch)


def _draw(
    pipeline: TrimmedPipeline, request: GenerationRequest, model: Model, watch: "_Watch"
) -> list[Image]:
    watch.stop_if_cancelled()
    text = _conditioning(pipeline, request.prompt, guided=model.guidance > 0)
    pictures = []
    for index in range(request.images):
        seed = picture_seed(request, index)
        output = pipeline(
            **text,
            width=request.width,
            height=request.height,
            num_inference_steps=model.steps,
            guidance_scale=model.guidance,
            generator=torch.Generator(pipeline.device).manual_seed(seed),
            callback_on_step_end=watch.step_of_picture(index),
            callback_on_step_end_tensor_inputs=["latents", "noise_pred"],
        )
        pictures.append(output.images[0])
    watch.stop_if_cancelled()
    return pictures


@torch.no_grad()
def _conditioning(
    pipeline: TrimmedPipeline, prompt: str, *, guided: bool
) -> dict[str, torch.Tensor]:
    """The text arguments of the pipeline, encoded once for all pictures of a request."""
    embeds, _ = pipeline.encode_prompt(prompt)
    text = {"prompt_embeds": embeds, "prompt_embeds_mask": _all_real(embeds)}
    if guided:
        empty, _ = pipeline.encode_prompt("")
        text |= {"negative_prompt_embeds": empty, "negative_prompt_embeds_mask": _all_real(empty)}
    return text


def _all_real(embeds: torch.Tensor) -> torch.Tensor:
    return torch.ones(embeds.shape[:2], dtype=torch.bool, device=embeds.device)


@dataclass(frozen=True)
class _Watch:
    """What happens between two steps: look for a cancellation, show a preview."""

    request: GenerationRequest
    loaded: Loaded
    on_step: Callable[[StepProgress], None]
    cancelled: Callable[[], bool]

    def stop_if_cancelled(self) -> None:
        if self.cancelled():
            raise Cancelled

    def step_of_picture(self, picture: int) -> Callable[..., dict[str, Any]]:
        """The pipeline's callback for picture `picture`.

        It raises instead of setting `pipeline.interrupt`, which would still decode the half-made
        latents; the pipeline sets its whole state anew at the next call.
        """
        steps = self.loaded.model.steps

        def after_step(
            pipeline: TrimmedPipeline, step: int, _time: torch.Tensor, tensors: dict[str, Any]
        ) -> dict[str, Any]:
            self.stop_if_cancelled()
            latents = tensors["latents"][0]
            if step + 1 == steps and not bool(latents.isfinite().all()):
                raise RenderFailed("The model made no picture of this prompt: try another seed.")
            sigma = pipeline.scheduler.sigmas[step + 1].to(latents)
            clean = latents - sigma * tensors["noise_pred"][0]  # where this step's velocity leads
            preview = self.loaded.preview.webp(
                clean, self.request.height // 16, self.request.width // 16
            )
            done = picture * steps + step + 1
            self.on_step(StepProgress(done, self.request.images * steps, preview, picture))
            return {}

        return after_step
