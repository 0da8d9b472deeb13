"""A request's steps on a loaded model: what they all read, and what happens between two of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from inference.engine import Cancelled, Conditioning, Latents, StepProgress
from inference.engine.denoise import Behind, Guided, Pace, Passed, Schedule, denoise, marker, noise
from inference.engine.loaded import Loaded
from inference.engine.transformer.model import Times, Transformer
from inference.request import GenerationRequest, picture_seed

PATCH = 16  # pixels a token
SCHEDULES_MAX = 16  # that are kept, of up to 4 MB each


@dataclass(frozen=True)
class Ready:
    """Everything that the steps of a request read and do not change."""

    guided: Guided
    times: Times
    sigmas: torch.Tensor

    @property
    def rows(self) -> int:
        """Of a step: the tokens of the text and of the picture."""
        return len(self.guided.prompt.cos)

    @property
    def picture_tokens(self) -> int:
        """The picture's alone."""
        return self.rows - self.guided.prompt.text_tokens

    @property
    def nbytes(self) -> int:
        """The memory that its prompts take; the times are shared."""
        prompts = [one for one in (self.guided.prompt, self.guided.empty) if one is not None]
        return sum(part.nbytes for one in prompts for part in (one.text, one.cos, one.sin))


@torch.no_grad()
def prepare(
    transformer: Transformer,
    states: Sequence[torch.Tensor],
    request: GenerationRequest,
    loaded: Loaded,
) -> Ready:
    """Make of text states what the steps read, by `loaded`'s transformer or its `ends`."""
    grid, model = (request.height // PATCH, request.width // PATCH), loaded.model
    prompts = [transformer.prepare(each, grid) for each in states]
    guided = Guided(prompts[0], prompts[1] if model.guidance > 0 else None, model.guidance)
    tokens = grid[0] * grid[1]
    if transformer is not loaded.ends:  # there may be LoRAs on it
        return Ready(guided, *_scheduled(transformer, tokens, loaded))
    if tokens not in loaded.scheduled:
        if len(loaded.scheduled) >= SCHEDULES_MAX:
            loaded.scheduled.clear()
        loaded.scheduled[tokens] = _scheduled(transformer, tokens, loaded)
    return Ready(guided, *loaded.scheduled[tokens])


def _scheduled(transformer: Transformer, tokens: int, loaded: Loaded) -> tuple[Times, torch.Tensor]:
    """What the blocks are told of the time at each step of `tokens`, and the sigmas."""
    schedule = Schedule.of(
        loaded.pipeline.scheduler,
        loaded.model.steps,
        tokens,
        distilled=loaded.pipeline.config.is_distilled,
    )
    return transformer.times(schedule.moments), schedule.sigmas


@torch.no_grad()
def take_steps(
    conditioning: Conditioning, request: GenerationRequest, watch: "Watch"
) -> list[Latents]:
    """The latents of each picture; raises what `watch` raises."""
    watch.stop_if_cancelled()
    loaded = watch.loaded
    states, ready = conditioning.tensors
    if ready is None:
        ready = prepare(loaded.stepper.transformer, states, request, loaded)
    pace = loaded.paces.setdefault(ready.picture_tokens, Pace())
    pace.begins(ready.rows)
    behind = Behind(ready, pace, marker(on_card=loaded.device.kind == "cuda"))
    done = []
    for index in range(request.images):
        latents = denoise(
            loaded.stepper,
            noise(picture_seed(request, index), request.width, request.height, ready.guided.prompt),
            ready.guided,
            ready.times,
            ready.sigmas,
            passed=partial(watch.passed, index),
            before=watch.stop_if_cancelled,
            behind=behind,
        )
        done.append(Latents(latents[0], request.width, request.height, behind.settle))
    return done


@dataclass(frozen=True)
class Watch:
    """What happens between two steps: look for a cancellation, report, offer a preview."""

    request: GenerationRequest
    loaded: Loaded
    on_step: Callable[[StepProgress], None]
    cancelled: Callable[[], bool]

    def stop_if_cancelled(self) -> None:
        """Raise Cancelled if somebody wishes so."""
        if self.cancelled():
            raise Cancelled

    def passed(self, picture: int, step: Passed) -> Callable[[], None]:
        """What to do once `step` of picture number `picture` is done."""
        steps = self.loaded.model.steps
        rows, columns = self.request.height // PATCH, self.request.width // PATCH

        def report() -> None:
            step.done()
            self.stop_if_cancelled()
            preview = partial(self.loaded.preview.webp, step.clean, rows, columns)
            done = picture * steps + step.index + 1
            self.on_step(StepProgress(done, self.request.images * steps, preview, picture))

        return report
