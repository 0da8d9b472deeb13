"""The line: two threads over which a worker lays the stages of neighbouring jobs.

Celery's thread prepares a job and puts it here; `draw` runs on one thread, which has the device,
and `finish` on another. So a job is decoded, judged, stored and paid for while the next one is
drawn, and each stage still meets one job at a time, in order. What is done and not yet finished
waits in a short queue: a disk or a database that falls behind holds the drawing up in the end.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

# Jobs between the two threads; their latents are small, and a third would only wait longer.
FINISHING_MAX = 1


class Work(Protocol):
    """A job as the line sees it; neither call raises."""

    def draw(self) -> None:
        """Do what needs the device."""

    def finish(self) -> None:
        """Do the rest, whatever `draw` came to."""


class Line:
    """The two threads; started once, in the process that does the work."""

    def __init__(self) -> None:
        """Start nothing."""
        self._drawing: queue.Queue[Work | None] = queue.Queue(1)
        self._finishing: queue.Queue[Work | None] = queue.Queue(FINISHING_MAX)
        # Made by `start`: a thread made before a fork counts as dead after it, even once it runs.
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to take work."""
        # Daemons: a thread that hangs in a driver must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._draw, name="draw", daemon=True),
            threading.Thread(target=self._finish, name="finish", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def put(self, work: Work) -> None:
        """Hand over; returns when no other job waits to be drawn."""
        self._drawing.put(work)

    def wait_finished(self) -> None:
        """Return when nothing waits to be finished; called on the drawing thread."""
        self._finishing.join()

    def close(self, seconds: float) -> bool:
        """Take no more, and wait until all is finished; False if it was not after `seconds`."""
        if any(thread.is_alive() for thread in self._threads[:1]):
            with suppress(queue.Full):  # the drawing hangs, and a job waits behind it
                self._drawing.put(None, timeout=seconds)
        for thread in self._threads:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in self._threads)

    def _draw(self) -> None:
        while (work := self._drawing.get()) is not None:
            work.draw()
            self._finishing.put(work)
        self._finishing.put(None)

    def _finish(self) -> None:
        while (work := self._finishing.get()) is not None:
            work.finish()
            self._finishing.task_done()


def outcome(stage: Callable[[], None]) -> Exception | None:
    """Run a stage of a job and return what it raised: whoever ends the row says what became."""
    try:
        stage()
    except Exception as failure:  # noqa: BLE001 - the edge of the worker
        return failure
    return None
