"""The denoising loop: noise, Euler steps on Krea's schedule, and what happens between two steps.

It replaces the loop of `Krea2Pipeline.__call__`, which evaluates per step what is constant and
waits for the host in between. On a GPU the host stays ahead: step i + 1 is started before step i
ends, so the card never waits for a report or a preview. It is started as late as that allows: what
the card was given it finishes, and a cancellation should be met within the step that runs.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.krea2.pipeline_krea2 import calculate_shift
from diffusers.utils.torch_utils import randn_tensor

from inference.engine.transformer.model import Prepared, Times

DISTILLED_SHIFT = 1.15  # Krea's fixed shift of a distilled checkpoint
PIXELS_A_TOKEN = 16
PIXELS_A_LATENT = 8
# A step is started this long before the one that runs should end, besides twice its own start.
LEAD_SECONDS = 0.008


class Step(Protocol):
    """One evaluation of the velocity; see `transformer.graphs.Stepper`."""

    def __call__(
        self, latents: torch.Tensor, prepared: Prepared, times: Times, index: int
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class Schedule:
    """Krea's sigmas, `steps` + 1 of them from 1 to 0, and the times that the model is told."""

    sigmas: torch.Tensor
    moments: torch.Tensor

    @classmethod
    def of(
        cls, scheduler: FlowMatchEulerDiscreteScheduler, steps: int, tokens: int, *, distilled: bool
    ) -> "Schedule":
        """The schedule of diffusers' pipeline for a picture of `tokens`."""
        scheduler = copy.copy(scheduler)  # two stages may ask at once
        config = scheduler.config
        shift = DISTILLED_SHIFT
        if not distilled:
            shift = calculate_shift(
                tokens,
                config.get("base_image_seq_len", 256),
                config.get("max_image_seq_len", 6400),
                config.get("base_shift", 0.5),
                config.get("max_shift", 1.15),
            )
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift)
        return cls(scheduler.sigmas, scheduler.timesteps / config.num_train_timesteps)


@dataclass(frozen=True)
class Passed:
    """A step that was started: `clean` is where its velocity leads, `done` waits for it."""

    index: int
    clean: torch.Tensor  # (N, channels), a guess at the finished latents
    done: Callable[[], None]


@dataclass(frozen=True)
class Guided:
    """The prompt, and if there is guidance g > 0 the empty prompt: v = c + g (c - u)."""

    prompt: Prepared
    empty: Prepared | None
    guidance: float


def noise(seed: int, width: int, height: int, like: Prepared) -> torch.Tensor:
    """Packed noise (1, N, 64) of a picture, drawn on the device as in Krea's reference code."""
    rows, columns = height // PIXELS_A_LATENT, width // PIXELS_A_LATENT
    generator = torch.Generator(like.text.device).manual_seed(seed)
    drawn = randn_tensor(
        (1, 16, rows, columns), generator=generator, device=like.text.device, dtype=like.text.dtype
    )
    patches = drawn.view(1, 16, rows // 2, 2, columns // 2, 2).permute(0, 2, 4, 1, 3, 5)
    packed: torch.Tensor = patches.reshape(1, rows * columns // 4, 64)
    return packed


@torch.no_grad()
def denoise(
    step: Step,
    latents: torch.Tensor,
    guided: Guided,
    times: Times,
    sigmas: torch.Tensor,
    *,
    passed: Callable[[Passed], Callable[[], None]],
    before: Callable[[], None],
    behind: "Behind",
) -> torch.Tensor:
    """Latents (1, N, 64) after all steps; `sigmas` lie in main memory.

    `before` is called before each step is started, `passed` right after; what `passed` returns is
    called when the step should be reported: on a card by `behind`, which keeps the last one. What
    they raise ends the work and comes out unchanged.
    """
    on_card = latents.device.type == "cuda"
    for index in range(len(sigmas) - 1):
        if on_card:
            behind.pace.wait()
        before()
        began = time.perf_counter()
        velocity = step(latents, guided.prompt, times, index)
        if guided.empty is not None:
            against = step(latents, guided.empty, times, index)
            velocity = velocity + guided.guidance * (velocity - against)
        # The sum in float32, the product in the model's precision: as diffusers' scheduler rounds.
        delta = float(sigmas[index + 1] - sigmas[index])
        latents = (latents.float() + delta * velocity).to(velocity.dtype)
        clean = latents - float(sigmas[index + 1]) * velocity
        report = passed(Passed(index, clean[0], marker(on_card=on_card)))
        if on_card:
            behind.started(report, time.perf_counter() - began)
        else:
            report()
    return latents


class Pace:
    """When to start the next step on a card that works on the one before.

    Kept for pictures of one size: how long their steps take is known from the last request.
    """

    def __init__(self) -> None:
        """Know nothing: the second step of the first request waits for the end of the first."""
        self._starting = 0.0  # seconds that starting a step took
        self._rows = 1  # of text and picture, which is what a step's time grows with
        self._step_seconds: float | None = None  # what the last step took
        self._came: float | None = None  # when the card came to the step that runs

    def begins(self, rows: int) -> None:
        """A request begins, whose steps have so many `rows`; nothing of it runs yet."""
        if self._step_seconds is not None:
            self._step_seconds *= rows / self._rows
        self._rows = rows
        self._came = None

    @property
    def is_known(self) -> bool:
        """Whether it can be told when the step that runs will end."""
        return self._step_seconds is not None

    def started(self, seconds: float) -> None:
        """Starting a step took so long."""
        self._starting = seconds

    def came(self) -> None:
        """The card has just come to the next step: the one before it has ended."""
        now = time.perf_counter()
        if self._came is not None:
            self._step_seconds = now - self._came
        self._came = now

    def idles(self) -> None:
        """The step that ran has ended, and no other was started."""
        self.came()
        self._came = None

    def wait(self) -> None:
        """Return when it is time to start the next."""
        if self._came is None or self._step_seconds is None:
            return
        until = self._came + self._step_seconds - 2 * self._starting - LEAD_SECONDS
        time.sleep(max(0.0, until - time.perf_counter()))


class Behind:
    """Reports the steps of a request one step behind the card, so that it always has one to make.

    The last one is reported by whoever waits for it, while the next request is drawn.
    """

    def __init__(self, reads: object, pace: Pace, reached: Callable[[], None]) -> None:
        """`reads` is what the steps read: kept until the last of them is done.

        `reached` waits until the card has come to the first of them.
        """
        self.pace = pace
        self._reads: object = reads
        # What is waited for when a step was started: that the card has come to it.
        self._report: Callable[[], None] | None = reached

    def started(self, report: Callable[[], None], seconds: float) -> None:
        """A step was started in `seconds`; wait for the one before it and report that.

        And for this one too, once for a size, where its end cannot be told: a step that is started
        ahead of time is one that nobody can stop.
        """
        self.pace.started(seconds)
        before, self._report = self._report, report
        if before is not None:
            before()
        self.pace.came()
        if not self.pace.is_known:
            self._report = None
            report()
            self.pace.idles()

    def settle(self) -> None:
        """Wait for the last step and report it; nothing to do a second time."""
        report, self._report = self._report, None
        if report is not None:
            report()
        self._reads = None


def marker(*, on_card: bool) -> Callable[[], None]:
    """A function that waits until the device has done what was asked of it so far."""
    if not on_card:
        return lambda: None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    wait: Callable[[], None] = event.synchronize
    return wait
