"""One attempt at a generation and its line to the database, which may go away and come back.

Progress is worth less than the picture: if the database cannot be reached, steps go unreported and
rendering goes on. What must be written (claim, outcome) is tried again for a bounded time, because
the picture exists by then. Used by the worker process alone.
"""

import base64
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from inference import lifecycle, repairs
from inference.engine import StepProgress
from inference.events import PREVIEW_CHARACTERS_MAX
from inference.generations import Generation
from inference.lifecycle import Standing
from inference.teller import Teller
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
    """A claimed generation in the hands of this process.

    Whether it may go on is known without asking: every write about it, and the pulse of the
    process, brings the answer home.
    """

    def __init__(
        self,
        database: Database,
        claimed: Generation,
        teller: Teller,
        stopping: Callable[[], bool],
        *,
        veil: Callable[[bytes], bytes],
    ) -> None:
        """Hold on to the row as it was claimed.

        `stopping` says that the process must end soon; no preview leaves but through `veil`.
        """
        self._veil = veil
        self._database = database
        self._teller = teller
        self._stopping = stopping
        self._standing: Standing = "go"
        self.claimed = claimed

    def on_step(self, progress: StepProgress) -> None:
        """Tell the page, by and by, that a step is done, and show it what there is so far."""
        self._teller.tell(self, progress)

    def cancelled(self) -> bool:
        """Whether to stop: a cancel, a worker that ends, or a row that is another's by now."""
        return self._standing != "go" or self._stopping()

    def flush(self) -> None:
        """Let what `on_step` was told reach the page before the end does."""
        self._teller.flush(self)

    def write(self, steps: Sequence[StepProgress]) -> None:
        """Write these steps as events, in one transaction."""
        preview = _preview(steps[-1], self._veil)

        def emit(session: Session) -> Standing:
            for done in steps[:-1]:
                lifecycle.progress(
                    session, self.claimed, step=done.step, steps=done.steps, preview=None
                )
            last = steps[-1]
            return lifecycle.progress(
                session, self.claimed, step=last.step, steps=last.steps, preview=preview
            )

        self._tell(emit)

    def beat(self) -> None:
        """Keep the row's heartbeat fresh."""
        self._tell(lambda session: lifecycle.heartbeat(session, self.claimed))

    def learn(self, standing: Standing) -> None:
        """Remember what was read about the row: an attempt that must stop stays stopped."""
        if self._standing == "go":
            self._standing = standing

    def give_up(self, session: Session) -> None:
        """End what `cancelled` stopped: back into the queue if only this process ends."""
        if not (self._stopping() and repairs.hand_back(session, self.claimed)):
            lifecycle.cancel(session, self.claimed)

    def note(self, kind: Literal["loading", "saved"], **data: Any) -> None:
        """Tell the page about a stage."""

        def emit(session: Session) -> Standing:
            lifecycle.note(session, self.claimed, kind, **data)
            return "go"

        self._tell(emit)

    def _tell(self, work: Callable[[Session], Standing]) -> None:
        try:
            with self._database.transaction() as session:
                # A crash of the database may eat this row; waiting for its disk would cost more.
                session.execute(text("SET LOCAL synchronous_commit = off"))
                standing = work(session)
        except (OperationalError, InterfaceError) as error:
            _log.warning("Progress was not written (%s); rendering goes on.", _first_line(error))
        except SQLAlchemyError:
            _log.exception("Progress was not written; rendering goes on.")
        else:
            self.learn(standing)


def watch(database: Database, attempts: Sequence[Attempt]) -> None:
    """Look whether somebody wants one of these stopped: a cancel is seen between heartbeats."""
    try:
        with database.read() as session:
            standings = lifecycle.standings(session, [attempt.claimed for attempt in attempts])
    except SQLAlchemyError:
        return  # the next heartbeat says what is wrong
    for attempt in attempts:
        attempt.learn(standings[attempt.claimed.id])


def _preview(progress: StepProgress, veil: Callable[[bytes], bytes]) -> str | None:
    """The veiled preview as a data URL; None if there is none, or none that can be had."""
    if progress.preview is None:
        return None
    try:
        return _data_url(veil(progress.preview()))
    except (RuntimeError, MemoryError, OSError, ValueError):
        _log.exception("A preview could not be made; rendering goes on.")
        return None


def _data_url(webp: bytes) -> str | None:
    url = f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
    return url if len(url) <= PREVIEW_CHARACTERS_MAX else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
