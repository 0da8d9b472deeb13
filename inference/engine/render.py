"""The engine that serves: one request in, its pictures out, in three stages.

One per process, made after any fork. Pictures of a request are drawn one after the other, so that
a picture has the same bytes alone and in company (matrix kernels round differently for other batch
sizes), a cancelled request stops within one step, and memory is that of one picture. Drawing four
at once would gain nothing: one fills the card. Each has its own generator on the device, as in
Krea's reference code, so that seeds mean the same there.

Encoding and decoding have streams of their own and end with nothing left to do on them, so that a
tensor may be handed from stage to stage and thread to thread.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from PIL.Image import Image

from inference import models
from inference.adapters.kept import KeptAdapters
from inference.engine import Build, Cancelled, Conditioning, Latents, OutOfMemory, StepProgress
from inference.engine.branches import Mix
from inference.engine.compiling import keep_compiled
from inference.engine.device import (
    Device,
    free,
    keep_memory_whole,
    memory_errors_explained,
    pick,
    profile_for,
)
from inference.engine.ends import picture, working_on
from inference.engine.load import measure
from inference.engine.loaded import Loaded, assemble
from inference.engine.profile import Choice, Profile
from inference.engine.ranks import Ranks
from inference.engine.steps import Ready, Watch, prepare, take_steps
from inference.engine.text_cache import TextCache
from inference.engine.transformer.build import read_config
from inference.engine.transformer.parallel import processes_for
from inference.models import Model, ModelUnavailable
from inference.request import GenerationRequest

WARM_UP_PROMPT = "a picture"


class PipelineEngine:
    """Keeps one model in memory and draws with it; see `Engine` for which calls may meet."""

    def __init__(
        self,
        weights_folder: Path,
        cache_folder: Path | None = None,
        precision: Choice = "auto",
        adapters_folder: Path | None = None,
        *,
        together: int = 1,
    ) -> None:
        """Look for checkpoints in `weights_folder` and in the hub's local cache. Loads nothing.

        `cache_folder` keeps compiled kernels over restarts; `precision` is the operator's wish for
        a GPU, see `profile.choose`. LoRAs lie in `adapters_folder` as `<sha256>.safetensors`. At
        most `together` processes draw each picture, a GPU each: as many as its heads allow.
        """
        self._weights_folder = weights_folder
        self._cache_folder = cache_folder
        self._precision: Choice = precision
        self._together = together
        self._loaded: Loaded | None = None
        self._adapters = KeptAdapters(adapters_folder)
        self.texts = TextCache()

    @property
    def build(self) -> Build:
        """What draws. Raises RuntimeError before the first `load`."""
        if self._loaded is None:
            raise RuntimeError("no model is loaded yet")
        return self._loaded.build

    @property
    def overlaps(self) -> bool:
        """On a GPU with room. A CPU's cores are all at work already: stages would share them."""
        loaded = self._loaded
        return loaded is not None and loaded.device.kind != "cpu" and loaded.profile.overlaps

    def load(self, model: Model, report: Callable[[str], None]) -> None:
        """Make `model` ready, in place of the one that was; nothing to do if it is there already.

        Raises ModelUnavailable when its weights are missing or unreadable, or need another machine.
        """
        if self._loaded is not None and self._loaded.model == model:
            return
        self.unload()  # two large models would not fit side by side
        folder = models.locate(model, self._weights_folder)
        if folder is None:
            problem = models.weights_problem(model, self._weights_folder)
            raise ModelUnavailable(problem or f"The weights of {model.name} are missing.")
        device = pick(model)
        profile = profile_for(model, device, measure(folder), self._precision)
        ranks = self._ranks(model, folder, device, profile)
        how = f", {profile.sentence}" if profile.sentence else ""
        how += f"; {ranks.size} processes draw a picture" if ranks else ""
        report(f"Loading {model.name} into the memory of {device.name}{how}.")
        if device.kind == "cuda":
            keep_compiled(self._cache_folder)
            if not profile.encoder_stays:
                keep_memory_whole()
        with memory_errors_explained(model.name):
            self._loaded = assemble(model, folder, device, profile, ranks)
        if device.kind == "cuda":
            self._warm_up(model, report)

    def unload(self) -> None:
        """Give the model's memory back, and end the processes that draw with it."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None and loaded.ranks is not None:
            loaded.ranks.part()
        del loaded
        self.texts.clear()
        self._adapters.clear()
        free()

    def adopt(self, loaded: Loaded) -> None:
        """Draw with a model that somebody else put together: random weights, for measuring."""
        self._loaded = loaded
        self.texts.clear()
        self._adapters.clear()

    def encode(self, request: GenerationRequest, model: Model) -> Conditioning:
        """What the steps read of the prompt, and of the empty one if the model is guided."""
        loaded = self._of(model)
        self._mix(request, loaded)  # read from disk beside the steps of the picture before
        what = f"A prompt for {model.name}"
        try:
            with memory_errors_explained(what), loaded.alone, working_on(loaded.encoding):
                if request.adapters:
                    # LoRAs change what is made of the text, and are not there before the steps.
                    return Conditioning((self._states(request, loaded), None))
                return Conditioning((None, self._ready(request, loaded)))
        except OutOfMemory:
            self.texts.clear()
            loaded.pipeline.forget_recordings()
            raise

    def _states(self, request: GenerationRequest, loaded: Loaded) -> list[torch.Tensor]:
        """The states of the prompt, and of the empty one if the model is guided."""
        prompts = [request.prompt, ""] if loaded.model.guidance > 0 else [request.prompt]
        return [
            self.texts.get((loaded.model.id, prompt), partial(loaded.text_states, prompt))
            for prompt in prompts
        ]

    def _ready(self, request: GenerationRequest, loaded: Loaded) -> Ready:
        """The same for a request whatever its seed and its number of pictures."""
        key = (loaded.model.id, request.prompt, request.width, request.height)

        def make() -> Ready:
            return prepare(loaded.ends, self._states(request, loaded), request, loaded)

        return self.texts.get(key, make)

    def denoise(
        self,
        conditioning: Conditioning,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Latents]:
        """The packed latents (N, 64) of each picture in order; the last step may still run.

        An exception of `on_step` or `cancelled` stops the work and comes out unchanged. Whatever
        comes out, the next call draws as if this one had not been.
        """
        loaded = self._of(model)
        watch = Watch(request, loaded, on_step, cancelled)
        mix = self._mix(request, loaded)
        size = f"{request.width} x {request.height}"
        try:
            with (
                memory_errors_explained(f"A picture of {size} by {model.name}"),
                loaded.branches.applied(mix),
            ):
                return take_steps(conditioning, request, watch)
        except OutOfMemory:
            loaded.branches.forget()
            loaded.stepper.forget()  # recordings hold gigabytes; the next job may need them
            free()
            raise

    def decode(self, latents: Sequence[Latents]) -> list[Image]:
        """One after the other, so that the memory is that of one picture."""
        loaded = self._loaded
        assert loaded is not None, "what made the latents is loaded"
        pictures = []
        for one in latents:
            one.settle()
            what = f"A picture of {one.width} x {one.height}"
            with memory_errors_explained(what), loaded.alone, working_on(loaded.decoding):
                pictures.append(picture(loaded.pipeline, one))
        return pictures

    def render(
        self,
        request: GenerationRequest,
        model: Model,
        on_step: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> list[Image]:
        """The pictures of `request`, RGB, in order; loads `model` if it is not there."""
        self.load(model, lambda _sentence: None)
        if cancelled():
            raise Cancelled
        conditioning = self.encode(request, model)
        return self.decode(self.denoise(conditioning, request, model, on_step, cancelled))

    def _of(self, model: Model) -> Loaded:
        assert self._loaded is not None, "load comes first"
        assert self._loaded.model == model, "and it loaded this model"
        return self._loaded

    def _ranks(self, model: Model, folder: Path, device: Device, profile: Profile) -> Ranks | None:
        """The processes that draw with this one. Raises ModelUnavailable where they cannot."""
        if self._together == 1:
            return None
        size = processes_for(read_config(folder / "transformer"), self._together)
        if size > 1 and profile.resident_blocks is not None:
            raise ModelUnavailable(
                f"{model.name} is to be drawn by {size} GPUs, and needs more memory on each: "
                f"{device.name} holds it only in parts. Set ATELIER_GPUS_PER_PICTURE to 1."
            )
        return Ranks(folder, device, profile, size) if size > 1 else None

    def _mix(self, request: GenerationRequest, loaded: Loaded) -> Mix:
        """The LoRAs of `request` with their strengths. Raises AdapterRefused."""
        layers = loaded.branches.layers
        return [(self._adapters.get(use.sha256, layers), use.strength) for use in request.adapters]

    def _warm_up(self, model: Model, report: Callable[[str], None]) -> None:
        """Compile what the first picture would otherwise wait for, and draw one."""
        loaded = self._of(model)
        report(f"Preparing {model.name} for {loaded.device.name}; once after an update.")
        side = model.side_default
        request = GenerationRequest(WARM_UP_PROMPT, model.id, side, side, images=1, seed=0)
        self._rehearse(request, loaded)

    def _rehearse(self, request: GenerationRequest, loaded: Loaded) -> None:
        """Draw without LoRAs, and if there may be any, through branches that add nothing."""
        draw = partial(self.render, request, loaded.model, lambda _step: None, lambda: False)
        draw()
        if self._adapters.folder is not None:
            # Where they do not fit, the picture that wants one will say so.
            with (
                suppress(OutOfMemory),
                memory_errors_explained("A LoRA"),
                loaded.branches.applied(loaded.branches.nothing()),
            ):
                draw()
