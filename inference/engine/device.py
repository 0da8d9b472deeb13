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
from inference.models import Model, ModelUnavailable

# How a refusal is worded where torch has no exception class for it: main memory, and a GPU library.
REFUSALS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(frozen=True)
class Device:
    """`kind` as torch names it ("cuda" or "cpu"), the precision, and a name for people."""

    kind: str
    dtype: torch.dtype
    name: str


def pick(model: Model) -> Device:
    """The best device of this machine. Initialises CUDA: call it in the process that will draw.

    Raises ModelUnavailable when the model needs a GPU and there is none.
    """
    if torch.cuda.is_available():
        return Device("cuda", getattr(torch, model.dtype), torch.cuda.get_device_name())
    if model.needs_gpu:
        raise ModelUnavailable(f"{model.name} needs a GPU, and this machine has none.")
    return Device("cpu", torch.float32, "the CPU")


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


def free() -> None:
    """Give cached memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
