"""One generation on its way through a worker: claimed, prepared, drawn, judged, stored, settled.

`Job` holds the control flow of the torch side; all that it calls is a leaf. Its three stages run on
three threads (see `inference.line`), so that neighbouring jobs overlap. A job may run twice for one
generation, and it may lose its row to the sweep at any moment: every write asks whether the attempt
is still the one that counts.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial

from PIL.Image import Image
from sqlalchemy.orm import Session

from inference import lifecycle, models, prompt_step
from inference.attempt import Attempt, persist
from inference.delivery import deliver, judge_and_stamp, origins_of, store
from inference.engine import Cancelled, Conditioning, Latents, StepProgress
from inference.line import outcome
from inference.models import Model
from inference.process import WorkerProcess
from inference.safety.output import is_doubtful
from licensing import adapters, licence
from licensing.errors import AtelierError
from licensing.seats import get_member, require_seat

INTERNAL_MESSAGE = (
    "Something broke while this was made; it has been written to the worker's log. Nothing was "
    "charged. Try again."
)
# The next message is taken this long before the device is free: its claim, checks and text encoding
# take a tenth of it. Not sooner, or a job would wait here while another worker has nothing to do.
LOOK_AHEAD_SECONDS = 0.5

_log = logging.getLogger(__name__)


def generate(process: WorkerProcess, generation_id: uuid.UUID) -> None:
    """Make the pictures of a waiting generation and see it end; do nothing for any other.

    It ends as finished (settled), refused, cancelled or failed (released). Raises only what is a
    fault of ours, after the generation was failed.
    """
    job = take(process, generation_id)
    if job is not None:
        job.is_over.wait()
        if job.fault is not None:
            raise job.fault


def take(process: WorkerProcess, generation_id: uuid.UUID) -> "Job | None":
    """Claim a waiting generation and put it on the line; None if it is not waiting (any more).

    Returns when the generation before it is drawn.
    """
    claimed = persist(process.database, lambda s: lifecycle.claim(s, generation_id, process.name))
    if claimed is None:
        return None  # a second message, or cancelled while it waited
    job = Job(process, process.take(claimed))
    job.prepare()
    process.line.put(job)
    return job


class Job:
    """A claimed generation on its way along the line; ends once, whatever happens to it.

    What a stage raises is kept, the stages after it are left out, and `finish` ends the row by it:
    the drawing thread meets no database.
    """

    def __init__(self, process: WorkerProcess, attempt: Attempt) -> None:
        """Take over a claimed row."""
        self.is_nearly_drawn = threading.Event()  # time to prepare the next
        self.is_over = threading.Event()  # the row has ended, or is another's
        self._process = process
        self._attempt = attempt
        self._claimed = attempt.claimed
        self._request = attempt.claimed.asked
        self._began = 0.0  # the drawing, by the monotonic clock
        self._conditioning: Conditioning | None = None
        self._is_doubtful = True  # the prompt, until it was asked about
        self._latents: list[Latents] = []
        self._images: list[Image] | None = None
        self._failure: Exception | None = None

    @property
    def fault(self) -> Exception | None:
        """What broke, if that is nobody's doing but ours."""
        is_outcome = isinstance(self._failure, Cancelled | AtelierError)
        return None if is_outcome else self._failure

    def prepare(self) -> None:
        """Everything that the device need not wait for: checks, tools, the text."""
        self._try(self._prepare)

    def draw(self) -> None:
        """What holds the device."""
        self._try(self._draw)
        self.is_nearly_drawn.set()

    def finish(self) -> None:
        """Judge, store, deliver; or end the row by what went wrong."""
        self._try(self._finish)
        self._try(self._end, even_now=True)
        self._try(lambda: self._process.leave(self._attempt), even_now=True)
        self.is_over.set()

    def _try(self, stage: Callable[[], None], *, even_now: bool = False) -> None:
        if self._failure is not None and not even_now:
            return
        failure = outcome(stage)
        if failure is not None:
            self._failure = failure  # told by `_end`
            if self.fault is not None:
                _log.error("Generation %s broke", self._claimed.id, exc_info=failure)

    def _prepare(self) -> None:
        process, model = self._process, self._model
        claimed = self._claimed
        member = persist(process.database, lambda session: get_member(session, claimed.member_id))
        assert member is not None, "members are never deleted"
        require_seat(member)  # the seat may have gone while the job waited
        persist(process.database, lambda session: licence.require_valid(session, claimed.model))
        persist(process.database, self._require_adapters)
        if process.loading is not None:
            self._attempt.note("loading", message=process.loading)
        tools = process.tools()
        process.require_filters()  # fails closed before the work, not after it
        prompt_step.check(process.database, tools.prompt_filter, claimed)
        self._is_doubtful = persist(process.database, lambda s: is_doubtful(s, claimed.id))
        if process.loaded == model and tools.engine.overlaps:
            self._conditioning = tools.engine.encode(self._request, model)
            process.say("busy", f"Making a picture with {model.name}.")

    def _require_adapters(self, session: Session) -> None:
        """Raise `AdapterNotReady` where a LoRA was removed or refused while the job waited."""
        wanted = [use.sha256 for use in self._request.adapters]
        organisation_id = self._claimed.organisation_id
        adapters.require_ready(session, organisation_id, wanted, self._model.worker_class)

    def _draw(self) -> None:
        process, model, engine = self._process, self._model, self._process.tools().engine
        if self._conditioning is None:
            process.load(model, self._report)
            process.say("busy", f"Making a picture with {model.name}.")
            self._conditioning = engine.encode(self._request, model)
        self._began = time.monotonic()
        self._latents = engine.denoise(
            self._conditioning, self._request, model, self._on_step, self._attempt.cancelled
        )
        self._conditioning = None
        if not engine.overlaps:
            self._images = engine.decode(self._latents)

    def _finish(self) -> None:
        process, claimed, tools = self._process, self._claimed, self._process.tools()
        images = self._images or tools.engine.decode(self._latents)
        self._latents, self._images = [], None
        organisation_id, is_doubtful = claimed.organisation_id, self._is_doubtful
        judge = partial(
            process.desk.judge, organisation_id=organisation_id, is_doubtful=is_doubtful
        )
        origins = origins_of(claimed, tools.engine.build)
        judged = judge_and_stamp(images, judge, origins, process.papers)
        made = store(process.storage, claimed, judged)
        self._attempt.flush()
        if not all(picture.refused for picture in made):
            saved = sum(not picture.refused for picture in made)
            self._attempt.note("saved", pictures=saved)
        deliver(process, claimed, made, [verdict for verdict, _ in judged])

    def _end(self) -> None:
        """End the row by what a stage raised; nothing to do if none did."""
        failure, claimed, database = self._failure, self._claimed, self._process.database
        if failure is None:
            return
        self._attempt.flush()
        if isinstance(failure, Cancelled):
            persist(database, self._attempt.give_up)
            return
        if isinstance(failure, prompt_step.PromptStopped):
            persist(database, lambda s: prompt_step.refuse(s, claimed, failure))
            return
        code, message = "internal", INTERNAL_MESSAGE
        if isinstance(failure, AtelierError):
            code, message = failure.code, failure.message
            _log.warning("Generation %s failed: %s", claimed.id, message)
        persist(database, lambda s: lifecycle.fail(s, claimed, code=code, message=message))

    @property
    def _model(self) -> Model:
        return models.find(self._claimed.model)

    def _on_step(self, progress: StepProgress) -> None:
        self._attempt.on_step(progress)
        step_seconds = (time.monotonic() - self._began) / progress.step
        if step_seconds * (progress.steps - progress.step) <= LOOK_AHEAD_SECONDS:
            self.is_nearly_drawn.set()

    def _report(self, message: str) -> None:
        self._process.say("loading", message)
        self._attempt.note("loading", message=message)
