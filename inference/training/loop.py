"""What every trainer shares: its place on the machine, its journal, its pace, its averages.

The trainers are plain loops over steps. This module gives them, and nothing else does: the device
and rank they run on (`Place`), progress as JSON lines (`Journal`), when to stop (`Stop`), how many
steps fit into a time (`Pace`), seeded randomness, gradient averaging over processes, the
learning-rate curve and the moving average of weights. What a run is resumed from is in `state`,
steps that are replayed in `recorded`.
"""

import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

JOURNAL_EVERY_SECONDS = 5.0
FIT_STEPS = 100
# Processes agree about stopping only so often, since it waits for the GPU.
STOP_EVERY = 20


@dataclass(frozen=True)
class Place:
    """Where one training process runs. Under torchrun there is one process per GPU."""

    device: torch.device
    rank: int
    world: int
    out: Path

    @property
    def first(self) -> bool:
        return self.rank == 0


def open_place(device: str, out: Path) -> Place:
    """Join the process group if torchrun started several processes; make the output folder."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    kind = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(kind)
    if kind == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    out.mkdir(parents=True, exist_ok=True)
    return Place(chosen, rank, world, out)


def close_place(place: Place) -> None:
    if place.world > 1:
        dist.barrier()
        dist.destroy_process_group()


@dataclass
class Journal:
    """Progress as JSON lines, to standard output and to `events.jsonl`, from the first process."""

    place: Place
    stage: str
    started: float = field(default_factory=time.monotonic)
    last_step_at: float = 0.0

    def event(self, kind: str, **values: Any) -> None:
        if not self.place.first:
            return
        seconds = round(time.monotonic() - self.started, 2)
        line = json.dumps({"stage": self.stage, "event": kind, "seconds": seconds, **values})
        print(line, flush=True)
        with (self.place.out / "events.jsonl").open("a") as file:
            file.write(line + "\n")

    def due(self) -> bool:
        """True at most once in five seconds: reading a loss waits for the GPU, so do it rarely."""
        now = time.monotonic()
        if now - self.last_step_at < JOURNAL_EVERY_SECONDS:
            return False
        self.last_step_at = now
        return True


class Stop:
    """Says when to stop early: on SIGTERM or SIGINT, or after `seconds`. All processes agree."""

    def __init__(self, place: Place, seconds: float | None) -> None:
        self.place = place
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: Any) -> None:
        self.asked = True

    def now(self, step: int) -> bool:
        """Whether to stop after this step. Several processes ask each other only so often."""
        if self.place.world > 1 and step % STOP_EVERY:
            return False
        late = self.deadline is not None and time.monotonic() > self.deadline
        if self.place.world == 1:
            return self.asked or late
        flag = torch.tensor(int(self.asked or late), device=self.place.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag)


def learning_rate(step: int, total: int, *, peak: float, warm_up: int, cool_down: int) -> float:
    """Linear warm-up, a plateau at `peak`, then a linear fall to 0 over the last `cool_down` steps.

    Unlike a cosine, the plateau can be stopped and carried on with a later `total`.
    """
    rise = min(1.0, (step + 1) / max(1, warm_up))
    fall = min(1.0, (total - step) / max(1, cool_down))
    return peak * rise * fall


def half_precision(device: torch.device) -> torch.autocast:
    """bf16 autocast on a GPU; a CPU computes in fp32, which is faster for tiny models."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def step_generator(place: Place, seed: int, step: int) -> torch.Generator:
    """Random numbers of (seed, rank, step) alone, so that a resumed run repeats them."""
    return generator_of(seed, place.rank, step, device=place.device)


def generator_of(*numbers: int, device: torch.device | None = None) -> torch.Generator:
    """A generator seeded by a few numbers together."""
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator(device or torch.device("cpu")).manual_seed(int(mixed) >> 1)


class Pace:
    """Measures a run's speed, and from it the number of steps that fit into a time.

    The first steps compile and fill pools, so the speed is that of the second half of the first
    FIT_AFTER_STEPS steps. The number fitted is part of the saved state and of the journal: repeat a
    run by passing it as `--steps`.
    """

    def __init__(self, place: Place, first: int, fit_seconds: float | None) -> None:
        self.place, self.first, self.fit_seconds = place, first, fit_seconds
        self.began = time.monotonic()
        self.half_way = self.began

    def fitted(self, step: int, extra_per_step: float = 0.0) -> int | None:
        """The total number of steps, once, when it can be told; else None.

        `extra_per_step` is time that falls on steps outside the window measured.
        """
        if self.fit_seconds is None or step - self.first not in {FIT_STEPS // 2, FIT_STEPS}:
            return None
        if self.place.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.monotonic()
        if step - self.first < FIT_STEPS:
            self.half_way = now
            return None
        per_step = (now - self.half_way) / (FIT_STEPS - FIT_STEPS // 2) + extra_per_step
        left = max(0.0, self.fit_seconds - (now - self.began))
        total = torch.tensor(step + int(left / per_step), device=self.place.device)
        if self.place.world > 1:
            dist.broadcast(total, 0)
        return int(total)

    def elapsed(self) -> float:
        return max(1e-9, time.monotonic() - self.began)

    def per_second(self, step: int, batch: int) -> int:
        """Samples a second over all processes since the run began."""
        done = (step - self.first) * batch * self.place.world
        return round(done / self.elapsed())


def average_gradients(parameters: Iterable[nn.Parameter], place: Place) -> None:
    """Mean of the gradients over all processes, in one message."""
    if place.world == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat, op=dist.ReduceOp.AVG if flat.is_cuda else dist.ReduceOp.SUM)
    if not flat.is_cuda:
        flat /= place.world
    pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(pieces, gradients, strict=True)])


class Average:
    """Exponential moving average of a module's parameters, kept in fp32."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names = [name for name, _ in module.named_parameters()]
        self.source = list(module.parameters())
        self.values = [p.detach().clone().float() for p in self.source]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the parameters; early steps move faster so the start is soon forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.source], 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.values, strict=True))

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in zip(self.names, self.values, strict=True):
            value.copy_(state[name])

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Put the averaged values into another module of the same shape."""
        for parameter, value in zip(module.parameters(), self.values, strict=True):
            parameter.copy_(value)
