"""Progress told to the page behind the drawing's back, by one thread.

The drawing thread only leaves a note here. If the database is slower than the steps, the notes of
an attempt are written together: every step, in order, with the newest preview alone.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from inference.engine import StepProgress

# How long the end of a job waits for its last steps to be written; they are worth no more.
FLUSH_SECONDS = 5.0


class Listener(Protocol):
    """Whose progress it is."""

    def write(self, steps: Sequence[StepProgress]) -> None:
        """Tell the page of these steps, at least one; does not raise."""


class Teller:
    """The thread and what it still has to write."""

    def __init__(self) -> None:
        """Start nothing."""
        self._notes: dict[Listener, list[StepProgress]] = {}
        self._writing: Listener | None = None
        self._stopped = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._work, name="teller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and end; may be called again."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(FLUSH_SECONDS)

    def tell(self, listener: Listener, progress: StepProgress) -> None:
        """Leave a note; returns at once."""
        with self._changed:
            notes = self._notes.setdefault(listener, [])
            if notes:  # its preview is out of date, and may hold on to memory of the device
                notes[-1] = replace(notes[-1], preview=None)
            notes.append(progress)
            self._changed.notify_all()

    def flush(self, listener: Listener) -> None:
        """Return when all of the listener's notes are written, or are not worth waiting for."""
        with self._changed:
            self._changed.wait_for(
                lambda: listener not in self._notes and self._writing is not listener,
                FLUSH_SECONDS,
            )
            self._notes.pop(listener, None)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._notes or self._stopped)
                if not self._notes:
                    return
                self._writing = next(iter(self._notes))
                steps = self._notes.pop(self._writing)
            try:
                self._writing.write(steps)
            finally:
                with self._changed:
                    self._writing = None
                    self._changed.notify_all()
