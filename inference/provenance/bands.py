"""A picture's rows in bands, each worked on by a thread of its own: numpy leaves the interpreter.

Bands are of a fixed height, so that what is made of them is the same on every machine; and a band
stays in a core's cache, which alone makes it faster.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

ROWS = 256
THREADS_MAX = 8

Answer = TypeVar("Answer")


def in_bands(height: int, work: Callable[[int, int], Answer]) -> list[Answer]:
    """What `work` makes of each band, given its first row and the one after its last; in order."""
    firsts = range(0, height, ROWS)
    ends = [min(first + ROWS, height) for first in firsts]
    return list(_pool(os.getpid()).map(work, firsts, ends))


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    """The threads of this process: they are kept, and a fork has none of its parent's."""
    return ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), THREADS_MAX))
