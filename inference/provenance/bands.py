"""A picture's rows in bands, each worked on by a thread of its own: numpy leaves the interpreter.

Bands are of a fixed height, so that what is made of them is the same on every machine; and a band
stays in a core's cache, which alone makes it faster.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

ROWS = 128
THREADS_MAX = 8

Answer = TypeVar("Answer")


def in_bands(height: int, work: Callable[[int, int], Answer]) -> list[Answer]:
    """What `work` makes of each band, given its first row and the one after its last; in order."""
    firsts = range(0, height, ROWS)
    ends = [min(first + ROWS, height) for first in firsts]
    threads = min(len(os.sched_getaffinity(0)), len(firsts), THREADS_MAX)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, firsts, ends))
