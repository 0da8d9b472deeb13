"""What one worker process keeps between jobs: its tools, its database, and its pulse.

Made in the parent and begun in the child, since neither connections nor torch survive a fork. The
pulse is a thread: it keeps the presence row and the running attempt's heartbeat fresh through steps
that take longer than a worker may be silent.
"""

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.sharedctypes import RawValue
from typing import Protocol

from PIL.Image import Image
from sqlalchemy.exc import InterfaceError, OperationalError

from inference import models, presence
from inference.attempt import Attempt
from inference.engine import Engine
from inference.generations import Generation
from inference.presence import HEARTBEAT_SECONDS, Report, WorkerState
from inference.provenance.papers import Papers, open_papers
from inference.safety import ImageVerdict
from inference.safety.known import KnownPictures
from inference.settings import Settings
from inference.storage import Storage
from licensing.db import Database, connect

_log = logging.getLogger(__name__)


class ImageFilter(Protocol):
    """Judges pictures before anybody sees them; fails closed (`FilterUnavailable`)."""

    def load(self) -> None:
        """Make ready; raises `FilterUnavailable`."""

    def check(self, image: Image, /) -> ImageVerdict:
        """Judge one picture; raises `FilterUnavailable`."""


@dataclass(frozen=True)
class Tools:
    """What draws and what judges."""

    engine: Engine
    image_filter: ImageFilter


class WorkerProcess:
    """The state of one worker process; one job at a time."""

    def __init__(self, settings: Settings, make_tools: Callable[[Settings], Tools]) -> None:
        """Remember how to begin; opens, starts and loads nothing."""
        self.settings = settings
        self.storage = Storage(settings.pictures_folder)
        self.known = KnownPictures()
        self.name = ""
        self._make_tools = make_tools
        self._tools: Tools | None = None
        self._database: Database | None = None
        self._report = Report(name="", device="", state="starting")
        self._attempt: Attempt | None = None
        self._loading = threading.Lock()
        self._beating = threading.Lock()  # the newest report is written last
        self._stopping = RawValue("b", 0)  # set by the parent; no lock that a kill could leave held
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._pulse, name="pulse", daemon=True)

    def begin(self) -> None:
        """Connect and start the pulse; called in the process that will do the work."""
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._database = connect(self.settings.database_url)
        self._report = Report(
            name=self.name,
            device="GPU" if models.has_gpu() else f"CPU, {len(os.sched_getaffinity(0))} cores",
            state="starting",
            message="The worker is starting.",
            models={model.id: self._problem(model) for model in self._served()},
        )
        self._thread.start()
        threading.Thread(target=self.tools, name="warm-up", daemon=True).start()

    def stop_soon(self) -> None:
        """Tell the child, from its parent, to hand its job back and end."""
        self._stopping.value = 1

    def end(self) -> None:
        """Stop the pulse and take the presence row away."""
        self._stopped.set()
        self._thread.join(HEARTBEAT_SECONDS)  # or its last beat would bring the row back
        try:
            with self.database.transaction() as session:
                presence.leave(session, self.name)
        except (OperationalError, InterfaceError):
            _log.warning("The database is away; the presence row will go stale by itself.")

    @property
    def database(self) -> Database:
        """The database, over connections that this process has opened itself."""
        assert self._database is not None, "begin() comes first"
        return self._database

    @cached_property
    def papers(self) -> Papers:
        """What pictures are marked and signed with. Raises `PapersProblem`."""
        return open_papers(self.settings.papers_folder)

    @property
    def is_warm(self) -> bool:
        """Whether `tools` answers at once."""
        return self._tools is not None

    def tools(self) -> Tools:
        """The engine and the filter.

        Importing them takes seconds, so that begins with the process; weights load with a job.
        """
        with self._loading:
            if self._tools is None:
                self.say("loading", "The worker is loading its libraries.")
                self._tools = self._make_tools(self.settings)
                self.say("busy" if self._attempt else "ready", "")
            return self._tools

    def say(self, state: WorkerState, message: str) -> None:
        """Change what the page reads about this worker."""
        self._report = replace(self._report, state=state, message=message)
        self._beat()

    @contextmanager
    def attempt(self, claimed: Generation) -> Iterator[Attempt]:
        """Keep the claimed generation's heartbeat fresh until the block ends."""
        self._attempt = Attempt(self.database, claimed, lambda: bool(self._stopping.value))
        self.say("busy", "Making a picture.")
        try:
            yield self._attempt
        finally:
            self._attempt = None
            self.say("ready", "")

    def _pulse(self) -> None:
        self._beat()
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            self._beat()
            attempt = self._attempt
            if attempt is not None:
                attempt.cancelled()  # asked for its heartbeat; the step asks for the answer

    def _beat(self) -> None:
        try:
            with self._beating, self.database.transaction() as session:
                presence.report(session, self._report)
        except (OperationalError, InterfaceError):
            _log.warning("The database is away; the worker's heartbeat waits.")

    def _served(self) -> Sequence[models.Model]:
        classes = self.settings.worker_classes
        return [model for model in models.CATALOGUE if model.worker_class in classes]

    def _problem(self, model: models.Model) -> str | None:
        return models.problem(model, self.settings.weights_folder)
