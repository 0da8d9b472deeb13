"""Where the arithmetic runs and in which precision: decided from the model and the hardware found.

A GPU computes in the precision that the catalogue names for the model (bfloat16 for Krea 2, which
was trained and published in it). A CPU computes in float32: the shipped half-precision weights are
widened at load, because half-precision arithmetic is slow on most CPUs.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from inference.engine import OutOfMemory
from inference.engine.profile import Card, Choice, Profile, Weights, choose
from inference.models import Model, ModelUnavailable

# How a refusal is worded where torch has no exception class for it: main memory, a GPU library, and
# what the driver allocates by itself (a recorded graph, pinned memory).
REFUSALS = (
    "DefaultCPUAllocator",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


@dataclass(frozen=True)
class Device:
    """`kind` as torch names it ("cuda" or "cpu"), the precision, and a name for people."""

    kind: str
    dtype: torch.dtype
    name: str


# All of it in the model's precision: what a CPU does, whose main memory is not asked for first.
ON_CPU = Profile("plain", encoder_stays=True, resident_blocks=None, sentence="")
SPLIT_MIB_MAX = 32
# 8-bit matrix products came with Ada (8.9) and Hopper (9.0).
FLOAT8_SINCE = (8, 9)


def pick(model: Model) -> Device:
    """The best device of this machine. Initialises CUDA: call it in the process that will draw.

    Raises ModelUnavailable when the model needs a GPU and there is none.
    """
    if torch.cuda.is_available():
        return Device("cuda", getattr(torch, model.dtype), torch.cuda.get_device_name())
    if model.needs_gpu:
        raise ModelUnavailable(f"{model.name} needs a GPU, and this machine has none.")
    return Device("cpu", torch.float32, "the CPU")


def profile_for(model: Model, device: Device, weights: Weights, choice: Choice = "auto") -> Profile:
    """How `model` is run on `device`. Raises ModelUnavailable when it does not fit."""
    if device.kind == "cpu":
        return ON_CPU
    free_bytes, _ = torch.cuda.mem_get_info()
    has_float8 = torch.cuda.get_device_capability() >= FLOAT8_SINCE
    return choose(model, weights, Card(device.name, free_bytes, has_float8), choice)


@contextmanager
def memory_errors_explained(what: str) -> Iterator[None]:
    """Turn an allocator's refusal into OutOfMemory with a sentence, and free what the job held.

    The new error is raised after the old one is dropped: an exception keeps its frames, and the
    frames would keep the tensors.
    """
    refused = False
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        refused = True
    except RuntimeError as error:
        if not any(refusal in str(error) for refusal in REFUSALS):
            raise
        refused = True
    if refused:
        free()
        raise OutOfMemory(
            f"{what} needs more memory than this machine has free. "
            "Choose a smaller size, or ask for a worker with more memory."
        )


def keep_memory_whole() -> None:
    """Have the allocator cut no large piece in two, from now on: for cards that are nearly full.

    Weights that lie in the halves of what was needed to round them would keep the other halves
    from everybody: 1.8 GiB of 16, where the text encoder's visit left 1.3.
    """
    torch._C._accelerator_setAllocatorSettings(f"max_split_size_mb:{SPLIT_MIB_MAX}")  # noqa: SLF001 - torch's only call for it


def free() -> None:
    """Give cached memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
