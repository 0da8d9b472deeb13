"""Medians of things done in turns, and the peak of memory while they were done."""

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

GIB = 2**30
KIB = 2**10


@dataclass(frozen=True)
class Timing:
    """Seconds: the median, the fastest and the slowest of `runs`; the GPU's peak memory."""

    median: float
    best: float
    worst: float
    runs: int
    peak_gib: float

    def __str__(self) -> str:
        spread = f"{self.best:.3f} to {self.worst:.3f}"
        return f"{self.median:.3f} s ({spread}, {self.runs} runs, {self.peak_gib:.1f} GiB)"


def in_turns(
    works: Mapping[str, Callable[[], object]],
    runs: int,
    *,
    warm_ups: int = 1,
    seconds_max: float = 120,
) -> dict[str, Timing]:
    """Time each of `works` `runs` times, one after the other, after `warm_ups` of each.

    Stops early, after whole rounds, when `seconds_max` have gone.
    """
    for _ in range(warm_ups):
        for work in works.values():
            work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    peaks = dict.fromkeys(works, 0.0)
    began = time.perf_counter()
    for _ in range(runs):
        for name, work in works.items():
            seconds, peak = timed(work)
            taken[name].append(seconds)
            peaks[name] = max(peaks[name], peak)
        if time.perf_counter() - began > seconds_max:
            break
    return {
        name: Timing(statistics.median(t), min(t), max(t), len(t), peaks[name])
        for name, t in taken.items()
    }


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds of `work`, all that it asked of the device included, and the peak in GiB."""
    on_card = torch.cuda.is_available()
    if on_card:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    work()
    if on_card:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    if on_card:
        return seconds, torch.cuda.max_memory_allocated() / GIB
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / GIB


def clear() -> None:
    """Give memory back between two cases."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
