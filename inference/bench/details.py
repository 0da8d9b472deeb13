"""What a request feels of the engine beside its speed: repeats, previews, cancelling, memory."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import torch

from inference.bench.timing import GIB, in_turns
from inference.engine import Cancelled, StepProgress
from inference.engine.render import PipelineEngine
from inference.models import Model
from inference.request import GenerationRequest

PROMPT = "a green fox in the snow"
RUNS = 10


def lines(engine: PipelineEngine, model: Model, side: int) -> Iterator[str]:
    """A sentence each, for square pictures of `side` pixels."""
    request = GenerationRequest(PROMPT, model.id, side, side, images=1, seed=2)
    again = in_turns({"hit": partial(engine.encode, request, model)}, RUNS)["hit"].median
    yield f"- a prompt that comes again: {1000 * again:.2f} ms"
    previews, asked, ends = list[float](), list[StepProgress](), list[float]()

    def watch(step: StepProgress) -> None:
        asked.append(step)
        ends.append(time.perf_counter())

    draw = partial(_draw, engine, model, request)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    first, alone = draw(), draw(watch)
    for step in asked:
        assert step.preview is not None
        began = time.perf_counter()
        step.preview()
        previews.append(time.perf_counter() - began)
    yield f"- a preview: {1000 * statistics.median(previews):.1f} ms, on a thread of its own"
    yield f"- the same request again has the same bytes: {first == alone}"
    four = GenerationRequest(PROMPT, model.id, side, side, images=4, seed=1)
    company = engine.decode(engine.denoise(engine.encode(four, model), four, model, _pass, _never))
    yield f"- picture 2 of 4 has the bytes that its seed has alone: {company[1].tobytes() == first}"
    a_step = statistics.median(later - earlier for earlier, later in pairwise(ends))
    for name, after in (("the first step", 0), ("a later one", model.steps // 2)):
        stopped = _cancelled(engine, model, request, after, a_step)
        yield f"- cancelled half-way through {name}: stops after {stopped}"
    if torch.cuda.is_available():
        yield f"- peak memory: {torch.cuda.max_memory_allocated() / GIB:.1f} GiB"


def _draw(
    engine: PipelineEngine,
    model: Model,
    request: GenerationRequest,
    on_step: Callable[[StepProgress], None] | None = None,
) -> bytes:
    (picture,) = engine.render(request, model, on_step or _pass, _never)
    return picture.tobytes()


def _cancelled(
    engine: PipelineEngine, model: Model, request: GenerationRequest, after: int, a_step: float
) -> str:
    """How long the engine works on once it is asked to stop, in steps of `a_step` seconds.

    It is asked half a step after its step number `after` has ended, or after it began with none.
    """
    conditioning, done, wishes = engine.encode(request, model), list[int](), list[float]()

    def wish() -> None:
        wishes.append(time.perf_counter())

    asking = threading.Timer(a_step / 2, wish)

    def on_step(_step: StepProgress) -> None:
        done.append(1)
        if len(done) == after:
            asking.start()

    if after == 0:
        asking.start()
    try:
        engine.denoise(conditioning, request, model, on_step, lambda: bool(wishes))
    except Cancelled:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    else:
        return "no step at all: it went on"
    return f"{(time.perf_counter() - wishes[0]) / a_step:.2f} steps"


def _pass(_step: StepProgress) -> None: ...


def _never() -> bool:
    return False
