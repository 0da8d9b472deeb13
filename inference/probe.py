"""The check of a LoRA: a fixed grid of pictures, judged like any before the LoRA may be used.

The grid is drawn by a worker on the line of its jobs, behind all that is paid for, and charged to
nobody. Its prompts are harmless, and people are in them, because that is where a LoRA shows what it
was made for; the LoRA's own trigger words stand before each. A doubt goes to a reviewer. Nothing is
passed that could not be judged: a filter that is away makes the check wait.
"""

import io
import logging
import threading
import uuid

from PIL import Image
from sqlalchemy.orm import Session

from inference import models, presence
from inference.adapters import AdapterRefused
from inference.attempt import persist
from inference.engine import Cancelled, OutOfMemory, RenderFailed
from inference.line import outcome
from inference.models import Model
from inference.process import WorkerProcess
from inference.request import AdapterUse, GenerationRequest
from inference.safety import FilterUnavailable, ImageVerdict
from inference.safety.output import strictest
from licensing import adapters, licence
from licensing.adapters import Adapter
from licensing.db import Database, now
from licensing.errors import AtelierError

GRID = "grid-1"  # named with each judgement; another grid gets another name
PROMPTS = (
    "a portrait of a woman",
    "a man standing in a room",
    "two people at the beach",
    "a street with people in summer",
)
SEED = 20_251
SIDE_MAX = 512  # pixels; a check is not to hold up those who wait for pictures

BROKEN = "The check broke; it has been written to the worker's log. It is tried again."
NO_MODEL = "No model that this LoRA fits can be run now. The check waits for one."
NO_FILE = (
    "The worker does not see the file: the web process and the workers must share one state folder."
)

_log = logging.getLogger(__name__)


def take(process: WorkerProcess, adapter_id: uuid.UUID) -> "Probe | None":
    """Claim a waiting check and put it on the line; None if it is not waiting (any more)."""
    claimed = persist(process.database, lambda s: adapters.claim(s, adapter_id, process.name))
    if claimed is None:
        return None
    probe = Probe(process, claimed)
    process.line.put(probe)
    return probe


def take_waiting(database: Database) -> list[tuple[uuid.UUID, str]]:
    """Return the checks to ring for (again), with the class of workers that can do each."""
    with database.transaction() as session:
        alive = [worker.name for worker in presence.alive(session)]
        return adapters.take_waiting(session, alive, presence.served(session), now())


class Probe:
    """A claimed check on its way along the line; ends once, whatever happens to it."""

    def __init__(self, process: WorkerProcess, claimed: Adapter) -> None:
        """Take over a claimed row."""
        self.is_over = threading.Event()
        self._process = process
        self._claimed = claimed
        self._images: list[Image.Image] = []
        self._failure: Exception | None = None

    def draw(self) -> None:
        """Draw the grid; on the drawing thread, and nothing of the job before is unfinished."""
        self._failure = outcome(self._draw)

    def finish(self) -> None:
        """Judge the grid and write down what was said."""
        if self._failure is None:
            self._failure = outcome(self._judge)
        problem = outcome(self._end)
        if problem is not None:  # the sweep takes the row up again
            _log.error("The check of LoRA %s was not ended", self._claimed.id, exc_info=problem)
        self._images = []
        self._process.rest()
        self.is_over.set()

    def _draw(self) -> None:
        process, claimed = self._process, self._claimed
        process.line.wait_finished()
        engine = process.tools().engine
        process.require_filters()  # before the work: what cannot be judged is not drawn
        model = persist(process.database, self._model)
        if not process.adapter_files.path(claimed.sha256).is_file():
            raise Postponed(NO_FILE)
        process.load(model, lambda said: process.say("loading", said))
        process.say("busy", "Checking a LoRA.")
        for request in grid_requests(claimed, model):
            conditioning = engine.encode(request, model)
            latents = engine.denoise(
                conditioning, request, model, lambda _: None, lambda: process.is_stopping
            )
            self._images += engine.decode(latents)

    def _model(self, session: Session) -> Model:
        """The quickest model of the family that this worker can run. Raises `Postponed`."""
        for model in models.CATALOGUE:
            runs = models.problem(model, self._process.settings.weights_folder) is None
            if model.worker_class == self._claimed.family and runs:
                try:
                    licence.require_valid(session, model.id)
                except AtelierError:
                    continue
                return model
        raise Postponed(NO_MODEL)

    def _end(self) -> None:
        """Refuse, or let wait, by what a stage raised; nothing to do if none did."""
        failure, database, claimed = self._failure, self._process.database, self._claimed
        if failure is None:
            return
        is_unfit = isinstance(failure, AdapterRefused | RenderFailed)
        if is_unfit and not isinstance(failure, OutOfMemory):
            assert isinstance(failure, AtelierError)
            persist(database, lambda s: self._refuse(s, failure.message))
            return
        is_spent = not isinstance(failure, Cancelled | FilterUnavailable | Postponed)
        message = failure.message if isinstance(failure, AtelierError) else BROKEN
        if isinstance(failure, Cancelled):
            message = "The worker stopped. Another one takes the check up."
        elif is_spent:
            _log.error("The check of LoRA %s broke", claimed.id, exc_info=failure)
        persist(database, lambda s: adapters.postpone(s, claimed, message, is_spent=is_spent))

    def _judge(self) -> None:
        """Hold every picture, and the trigger words, against the filters; the strictest counts."""
        process, claimed = self._process, self._claimed
        verdicts = [process.desk.judge(image, claimed.organisation_id) for image in self._images]
        if claimed.triggers:
            said = process.tools().prompt_filter.check(claimed.triggers)
            verdicts.append(ImageVerdict(said.action, said.category, said.score, said.source))
        worst = strictest(verdicts)
        process.adapter_files.keep_grid(claimed.id, as_grid(self._images))
        persist(
            process.database,
            lambda session: adapters.judge(
                session,
                claimed,
                action=worst.action,
                category=worst.category,
                score=worst.score,
                source=worst.source,
                grid=GRID,
            ),
        )

    def _refuse(self, session: Session, reason: str) -> bool:
        return adapters.judge(
            session,
            self._claimed,
            action="block",
            category=None,
            score=None,
            source="",
            grid=GRID,
            reason=reason,
        )


class Postponed(AtelierError):  # noqa: N818 - says what happens
    """The check cannot be done now; the sentence says why."""

    code = "check_postponed"
    status = 503


def grid_requests(adapter: Adapter, model: Model) -> list[GenerationRequest]:
    """The requests of the grid, one picture each, with the LoRA as strong as trained."""
    side = min(model.side_default, SIDE_MAX)
    before = f"{adapter.triggers}, " if adapter.triggers else ""
    return [
        GenerationRequest(
            prompt=f"{before}{prompt}",
            model=model.id,
            width=side,
            height=side,
            images=1,
            seed=SEED,
            adapters=(AdapterUse(adapter.sha256, 1.0),),
        )
        for prompt in PROMPTS
    ]


def as_grid(images: list[Image.Image]) -> bytes:
    """Lay the pictures out two in a row, as one WebP for the reviewer."""
    width, height = images[0].size
    rows = (len(images) + 1) // 2
    sheet = Image.new("RGB", (2 * width, rows * height))
    for index, image in enumerate(images):
        sheet.paste(image, (index % 2 * width, index // 2 * height))
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=85)
    return file.getvalue()
