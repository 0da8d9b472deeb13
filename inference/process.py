"""What one worker process keeps between jobs: its tools, its database, and its pulse.

Made in the parent and begun in the child, since neither connections nor torch survive a fork. The
pulse is a thread: it keeps the presence row and the heartbeats of the jobs in hand fresh through
steps that take longer than a worker may be silent, and learns of cancels meanwhile.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from multiprocessing.sharedctypes import RawValue

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from inference import models, presence
from inference.adapter_files import AdapterFiles
from inference.attempt import PERSIST_SECONDS, Attempt, persist, watch
from inference.engine import Engine
from inference.generations import Generation
from inference.line import Line
from inference.presence import HEARTBEAT_SECONDS, Report, WorkerState
from inference.provenance.papers import Papers, open_papers
from inference.safety import BLOCK_LIST, PICTURE_FILTER, PROMPT_FILTER, FilterUnavailable, previews
from inference.safety.known import KnownPictures
from inference.safety.output import ImageFilter, OutputDesk
from inference.safety.prompt import PromptClassifier
from inference.settings import Settings
from inference.storage import Storage
from inference.teller import Teller
from licensing.db import Database, connect

WATCH_SECONDS = 0.1  # between looks for a cancel: less than a step of most sizes; one small SELECT
# A job that is drawn is finished before the process ends, also through a failover of the database.
END_SECONDS = PERSIST_SECONDS + 15.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What draws and what judges."""

    engine: Engine
    prompt_filter: PromptClassifier
    image_filter: ImageFilter


class WorkerProcess:
    """The state of one worker process: one job on the device, its neighbours beside it."""

    def __init__(self, settings: Settings, make_tools: Callable[[Settings], Tools]) -> None:
        """Remember how to begin; opens, starts and loads nothing."""
        self.settings = settings
        self.storage = Storage(settings.pictures_folder)
        self.adapter_files = AdapterFiles(settings.adapters_folder)
        self.known = KnownPictures()
        self.name = ""
        self._make_tools = make_tools
        self._tools: Tools | None = None
        self._database: Database | None = None
        self._report = Report(name="", device="", state="starting")
        self._attempts: list[Attempt] = []  # replaced, never changed: the pulse reads it
        self._counting = threading.Lock()
        self.line = Line()
        self.teller = Teller()
        self.loaded: models.Model | None = None  # in the engine's memory; the drawing thread's say
        self._loading = threading.Lock()
        self._beating = threading.Lock()  # the newest report is written last
        self._stopping = RawValue("b", 0)  # set by the parent; no lock that a kill could leave held
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, device: str | None = None) -> None:
        """Connect and start the pulse; called in the process that will do the work.

        `device` is what people are told that it draws on.
        """
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._database = connect(self.settings.database_url)
        self._report = Report(
            name=self.name,
            device=device or f"CPU, {len(os.sched_getaffinity(0))} cores",
            state="starting",
            message="The worker is starting.",
            models={model.id: self._problem(model) for model in self._served()},
        )
        self._threads = [
            threading.Thread(target=self._pulse, name="pulse", daemon=True),
            threading.Thread(target=self._check_filters, name="warm-up", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.teller.start()
        self.line.start()

    def stop_soon(self) -> None:
        """Tell the child, from its parent, to hand its job back and end."""
        self._stopping.value = 1

    def end(self) -> None:
        """Finish what is drawn, stop the pulse, take the presence row away, close the database."""
        if not self.line.close(END_SECONDS):
            _log.warning("Jobs were left unfinished; the sweep gives them to another worker.")
        self.teller.stop()
        self._stopped.set()
        for thread in self._threads:
            thread.join(HEARTBEAT_SECONDS)  # or a last beat would bring the row back
        try:
            with self.database.transaction() as session:
                presence.leave(session, self.name)
        except (OperationalError, InterfaceError):
            _log.warning("The database is away; the presence row will go stale by itself.")
        self.database.dispose()

    @property
    def database(self) -> Database:
        """The database, over connections that this process has opened itself."""
        assert self._database is not None, "begin() comes first"
        return self._database

    @cached_property
    def papers(self) -> Papers:
        """What pictures are marked and signed with. Raises `PapersProblem`."""
        return open_papers(self.settings.papers_folder)

    def tools(self) -> Tools:
        """The engine and the filter.

        Importing them takes seconds, so that begins with the process; weights load with a job.
        """
        with self._loading:
            if self._tools is None:
                self.say("loading", "The worker is loading its libraries.")
                self._tools = self._make_tools(self.settings)
                self.say("busy" if self._attempts else "ready", "")
            return self._tools

    def load(self, model: models.Model, report: Callable[[str], None]) -> None:
        """Make `model` the one in memory; on the drawing thread, when no stage uses another."""
        engine = self.tools().engine
        if self.loaded == model:
            return
        self.line.wait_finished()
        self.loaded = None
        engine.load(model, report)
        self.loaded = model

    @property
    def desk(self) -> OutputDesk:
        """Who judges pictures and previews before anybody sees them."""
        return OutputDesk(self.known, self.tools().image_filter)

    def require_filters(self) -> None:
        """Load every filter and read the block list, and tell of it in this worker's presence.

        Raises `FilterUnavailable` for the first that cannot judge: nothing is made without it.
        """
        tools = self.tools()
        problems = {
            PROMPT_FILTER: _problem_of(tools.prompt_filter.load),
            PICTURE_FILTER: _problem_of(tools.image_filter.load),
            BLOCK_LIST: _problem_of(self._read_block_list),
        }
        self._report = replace(
            self._report,
            filters={name: one.message if one else None for name, one in problems.items()},
        )
        for problem in problems.values():
            if problem is not None:
                raise problem

    def say(self, state: WorkerState, message: str) -> None:
        """Change what the page reads about this worker."""
        self._report = replace(self._report, state=state, message=message)
        self._beat()

    @property
    def is_stopping(self) -> bool:
        """Whether the parent asked for the end: what is not drawn yet goes back into the queue."""
        return bool(self._stopping.value)

    @property
    def loading(self) -> str | None:
        """What is being loaded now, in a sentence."""
        return self._report.message if self._report.state == "loading" else None

    def first_model(self) -> models.Model | None:
        """The model to load before anybody asks: the setting's, else the first that can be run."""
        wanted = self.settings.warm_model
        return next(
            (
                model
                for model in self._served()
                if wanted in (None, model.id) and self._report.models[model.id] is None
            ),
            None,
        )

    def take(self, claimed: Generation) -> Attempt:
        """Keep the claimed generation's heartbeat fresh until `leave`."""
        veil = partial(self._veil, claimed.organisation_id)
        attempt = Attempt(self.database, claimed, self.teller, lambda: self.is_stopping, veil=veil)
        with self._counting:
            self._attempts = [*self._attempts, attempt]
        return attempt

    def leave(self, attempt: Attempt) -> None:
        """The attempt is over."""
        with self._counting:
            self._attempts = [other for other in self._attempts if other is not attempt]
            self._rest()

    def rest(self) -> None:
        """Say that this worker waits, if it does."""
        with self._counting:
            self._rest()

    def _rest(self) -> None:
        if not self._attempts:
            self.say("ready", "")

    def _pulse(self) -> None:
        self._beat()
        next_beat = time.monotonic() + HEARTBEAT_SECONDS
        while not self._stopped.wait(WATCH_SECONDS):
            attempts = self._attempts
            if time.monotonic() >= next_beat:
                self._beat()
                if any(self._report.filters.values()) and not attempts:
                    self._check_filters()  # repaired meanwhile, it needs no restart
                for attempt in attempts:
                    attempt.beat()
                next_beat = time.monotonic() + HEARTBEAT_SECONDS
            elif attempts:
                watch(self.database, attempts)

    def _beat(self) -> None:
        try:
            with self._beating, self.database.transaction() as session:
                presence.report(session, self._report)
        except SQLAlchemyError as error:
            _log.warning("The worker's heartbeat waits for the database: %s", error)

    def _veil(self, organisation_id: uuid.UUID, webp: bytes) -> bytes:
        return previews.cover(webp, lambda image: self.desk.judge(image, organisation_id))

    def _check_filters(self) -> None:
        """Ask the filters before anybody needs them, and again while one cannot judge."""
        try:
            self.require_filters()
        except FilterUnavailable as problem:
            _log.error("No picture can be made: %s", problem.message)

    def _read_block_list(self) -> None:
        persist(self.database, self.known.refresh)

    def _served(self) -> Sequence[models.Model]:
        classes = self.settings.worker_classes
        return [model for model in models.CATALOGUE if model.worker_class in classes]

    def _problem(self, model: models.Model) -> str | None:
        return models.problem(model, self.settings.weights_folder)


def _problem_of(load: Callable[[], None]) -> FilterUnavailable | None:
    try:
        load()
    except FilterUnavailable as problem:
        return problem
    return None
