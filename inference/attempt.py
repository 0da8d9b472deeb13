"""One attempt at a generation and its line to the database, which may go away and come back.

Progress is worth less than the picture: if the database cannot be reached, steps go unreported and
rendering goes on. What must be written (claim, outcome) is tried again for a bounded time, because
the picture exists by then. Used by the worker process alone.
"""

import base64
import logging
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from inference import lifecycle
from inference.engine import StepProgress
from inference.events import PREVIEW_CHARACTERS_MAX
from inference.generations import Generation
from inference.lifecycle import Standing
from licensing.db import Database

PERSIST_SECONDS = 60.0  # a restart takes seconds, a failover under a minute; then the sweep decides
FIRST_WAIT_SECONDS = 0.1
WAIT_SECONDS_MAX = 2.0

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)


def persist(
    database: Database, work: Callable[[Session], Answer], seconds: float = PERSIST_SECONDS
) -> Answer:
    """Run `work` in a transaction; again, for at most `seconds`, while the database is away.

    `work` may run several times, even after a commit whose answer was lost on the way: it must be
    a conditional change. Raises what it raised last.
    """
    deadline = time.monotonic() + seconds
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            with database.transaction() as session:
                return work(session)
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() + wait > deadline:
                raise
            _log.warning("The database is away (%s); trying again.", _first_line(error))
        time.sleep(wait)
        wait = min(2 * wait, WAIT_SECONDS_MAX)


class Attempt:
    """A claimed generation in the hands of this process."""

    def __init__(
        self, database: Database, claimed: Generation, stopping: Callable[[], bool]
    ) -> None:
        """Hold on to the row as it was claimed; `stopping` says that the process must end soon."""
        self._database = database
        self._stopping = stopping
        self.claimed = claimed

    def on_step(self, progress: StepProgress) -> None:
        """Tell the page that a step is done, with a picture of what there is so far."""
        preview = _data_url(progress.preview_webp)
        self._tell(
            lambda session: lifecycle.progress(
                session, self.claimed, step=progress.step, steps=progress.steps, preview=preview
            )
        )

    def cancelled(self) -> bool:
        """Ask whether to stop: a cancel, a worker that ends, or a row that is another's by now."""
        standing = self._tell(lambda session: lifecycle.heartbeat(session, self.claimed))
        return standing != "go" or self._stopping()

    def give_up(self, session: Session) -> None:
        """End what `cancelled` stopped: back into the queue if only this process ends."""
        if not (self._stopping() and lifecycle.hand_back(session, self.claimed)):
            lifecycle.cancel(session, self.claimed)

    def note(self, kind: Literal["loading", "saved"], **data: Any) -> None:
        """Tell the page about a stage."""

        def emit(session: Session) -> Standing:
            lifecycle.note(session, self.claimed, kind, **data)
            return "go"

        self._tell(emit)

    def _tell(self, work: Callable[[Session], Standing]) -> Standing:
        try:
            with self._database.transaction() as session:
                # A crash of the database may eat this row; waiting for its disk would cost more.
                session.execute(text("SET LOCAL synchronous_commit = off"))
                return work(session)
        except (OperationalError, InterfaceError) as error:
            _log.warning("Progress was not written (%s); rendering goes on.", _first_line(error))
            return "go"


def _data_url(webp: bytes | None) -> str | None:
    if webp is None:
        return None
    url = f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
    return url if len(url) <= PREVIEW_CHARACTERS_MAX else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
