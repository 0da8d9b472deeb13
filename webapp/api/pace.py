"""How many requests one key may send: a count for each minute, in this process.

It keeps a program in a loop from taking the database from everybody else. Each web process counts
for itself, so N of them let through up to N times as many; money and jobs have exact limits of
their own in `webapp.generate`.
"""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable

from licensing.errors import AtelierError

REQUESTS_PER_MINUTE = 600  # ten a second: eight jobs looked at every second, with room
MINUTE_SECONDS = 60.0


class TooManyRequests(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The key has sent as many requests in this minute as one key may."""

    code = "too_many_requests"
    status = 429


class Pace:
    """The requests of the running minute, by key; the next minute begins with none."""

    def __init__(
        self, limit: int = REQUESTS_PER_MINUTE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._sent: Counter[uuid.UUID] = Counter()

    def count(self, key_id: uuid.UUID) -> None:
        """Count one request; raises `TooManyRequests` from the one after the limit on."""
        minute = int(self._clock() // MINUTE_SECONDS)
        with self._lock:
            if minute != self._minute:
                self._minute = minute
                self._sent.clear()
            self._sent[key_id] += 1
            sent = self._sent[key_id]
        if sent > self._limit:
            raise TooManyRequests(
                f"This key has sent {self._limit} requests within a minute, which is the limit. "
                "Wait a moment; ask for a running job every second or two."
            )
