"""A step recorded as CUDA graphs, one for each set of shapes that it meets.

A small transformer's step is thousands of kernels of a few microseconds: started one by one from
Python they leave a GPU idle three quarters of the time. `Recorded` replays them in one call. The
trainers of Raw and Turbo wrap their gradients in it; gradients live in buffers that every recording
adds to (`make_gradients`), so pictures of any shape in turn train the same weights.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# With and without gradients, frozen and not: more kinds of call than torch expects of one function.
RECOMPILE_LIMIT = 64


@dataclass(frozen=True)
class Recording:
    """One graph, the tensors that it reads and the one that it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Tensor


class Recorded:
    """A function of tensors, recorded when a set of shapes is first seen and replayed after that.

    The function must be free of randomness and of waiting. All recordings share one pool of memory,
    since only one of them runs at a time. On a CPU, or when not enabled, it is simply called.
    """

    def __init__(self, function: Callable[..., Tensor], pool: "Pool", *, enabled: bool) -> None:
        self.function, self.pool, self.enabled = function, pool, enabled
        self.recordings: dict[tuple[torch.Size, ...], Recording] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        if not self.enabled:
            return self.function(*inputs)
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self.recordings:
            self.recordings[shapes] = self._record(inputs)
        recording = self.recordings[shapes]
        for kept, given in zip(recording.inputs, inputs, strict=True):
            kept.copy_(given)
        recording.graph.replay()
        # The next recording to run may use the same memory.
        return recording.output.clone()

    def _record(self, inputs: tuple[Tensor, ...]) -> Recording:
        kept = [tensor.clone() for tensor in inputs]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # compiles, tunes and allocates what may not happen in a recording
                self.function(*kept)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # what the rehearsal took, so that the recording has room
        graph = torch.cuda.CUDAGraph()
        # Other threads (NCCL's watchdog) may touch the GPU meanwhile.
        with torch.cuda.graph(graph, pool=self.pool.handle, capture_error_mode="thread_local"):
            output = self.function(*kept)
        return Recording(graph, kept, output)


class Pool:
    """Memory that recordings share; made at the first use, since a CPU has no graphs."""

    def __init__(self, device: torch.device) -> None:
        self.handle = torch.cuda.graph_pool_handle() if device.type == "cuda" else None


def compile_blocks(blocks: Iterable[nn.Module], of_any_length: Iterable[nn.Module] = ()) -> None:
    """Compile repeated blocks only: seconds, where the whole network takes minutes.

    `blocks` see one length of tokens whatever the shape (`flow.padded`), the others several.
    """
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT  # noqa: SLF001 - torch has no other door
    for block in blocks:
        block.compile(dynamic=False)
    for block in of_any_length:
        block.compile()


def make_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every parameter a gradient of zeros that stays in its place."""
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)


def clear_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Set the gradients to zero where they are."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    torch._foreach_zero_(gradients)
