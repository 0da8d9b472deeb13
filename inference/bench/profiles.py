"""What runs in less memory than this card has: profiles as they are chosen, held to their size."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from inference.bench import full_size
from inference.bench.timing import GIB, clear
from inference.engine import OutOfMemory
from inference.engine.device import Device, keep_memory_whole
from inference.engine.loaded import make_ready
from inference.engine.profile import Card, Profile, choose
from inference.engine.render import PipelineEngine
from inference.engine.transformer.build import build
from inference.models import Model
from inference.request import GenerationRequest

CARDS = (40, 24, 16)  # GiB
SIDES = (1024, 2048)
# What the driver keeps for itself on a card of its own, and the allocator does not count.
DRIVER_BYTES = GIB // 2
HEAD = "| card | runs | 1,024 px | peak | 2,048 px | peak |"


def rows(model: Model, folder: Path, prompt: str) -> Iterator[str]:
    """A line of the table for each of CARDS; `folder` holds the parts that have no weights."""
    for gib in CARDS:
        profile = choose(model, full_size.weights(), Card("a card", gib * GIB, has_float8=True))
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction((gib * GIB - DRIVER_BYTES) / total)
        cells = [f"{gib} GiB", profile.sentence]
        try:
            for seconds, peak in _draw(model, profile, folder, prompt):
                cells += [f"{seconds:.2f} s", f"{peak:.1f} GiB"]
        except (OutOfMemory, torch.OutOfMemoryError) as error:
            cells.append(f"does not fit: {type(error).__name__}")
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            clear()
        yield "| " + " | ".join(cells) + " |"


def _draw(
    model: Model, profile: Profile, folder: Path, prompt: str
) -> Iterator[tuple[float, float]]:
    """Seconds and peak of a second picture of each size, as the worker would draw it."""
    card = torch.device("cuda")
    device = Device("cuda", torch.bfloat16, torch.cuda.get_device_name())
    read = full_size.reader(full_size.TRANSFORMER, card, device.dtype)
    parts = full_size.pipeline(Path("weights/pocket-turbo"), card)
    if not profile.encoder_stays:
        keep_memory_whole()
        parts.text_encoder.to("cpu")
        clear()
    transformer = build(
        full_size.TRANSFORMER,
        read,
        device.dtype,
        profile.precision,
        resident=profile.resident_blocks,
    )
    engine = PipelineEngine(folder)
    engine.adopt(make_ready(model, device, profile, transformer, parts))
    for side in SIDES:
        request = GenerationRequest(prompt, model.id, side, side, images=1, seed=1)
        for turn in range(2):
            engine.texts.clear()
            torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            engine.render(replace(request, seed=turn), model, lambda _step: None, lambda: False)
        yield time.perf_counter() - began, torch.cuda.max_memory_allocated() / GIB
