"""Run jobs on threads that start together, to see what a race leaves behind."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 12  # connections that truly contend; more only queue for the test machine's two cores

T = TypeVar("T")


def race(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Return what the jobs returned, in the order of the jobs."""
    gate = threading.Barrier(min(AT_ONCE, len(jobs)))

    def begin() -> None:
        gate.wait()

    with ThreadPoolExecutor(gate.parties, initializer=begin) as threads:
        return [future.result() for future in [threads.submit(job) for job in jobs]]
