"""The worker: takes a generation by its number and makes its pictures, from claim to settlement.

`generate` holds the control flow of the torch side; all that it calls is a leaf. It may run twice
for one generation, and it may lose its row to the sweep at any moment: every write asks whether the
attempt is still the one that counts. A Celery prefork child does the work; it loads engine and
filter itself, because torch does not survive a fork once it has run.
"""

import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import ClassVar

from celery import Celery, signals
from PIL.Image import Image
from sqlalchemy.orm import Session

from inference import lifecycle, models
from inference.attempt import Attempt, persist
from inference.engine import Cancelled, Engine
from inference.generations import RUNNING_MAX, Generation
from inference.lifecycle import Made
from inference.process import Tools, WorkerProcess
from inference.provenance.stamp import Origin, stamp
from inference.queue import GENERATE, create_celery, queue_name
from inference.request import picture_seed
from inference.safety import ImageVerdict
from inference.settings import Settings
from inference.storage import Storage, picture_key, thumbnail_key
from licensing import licence, moderation
from licensing.errors import AtelierError
from licensing.seats import get_member, require_seat

INTERNAL_MESSAGE = (
    "Something broke while this was made; it has been written to the worker's log. Nothing was "
    "charged. Try again."
)
REFUSED_MESSAGE = (
    "The output filter refused every picture of this, so none is shown and nothing was charged. "
    "Change the prompt and try again."
)

_log = logging.getLogger(__name__)


class StorageFailed(AtelierError):  # noqa: N818 - says what happened
    """The pictures could not be written: a full disk, a folder that went away."""

    code: ClassVar[str] = "storage_failed"
    status: ClassVar[int] = 503


def run_worker(settings: Settings, make_tools: Callable[[Settings], Tools] | None = None) -> None:
    """Serve the queues of `settings.worker_classes` until the process is told to stop."""
    celery = create_worker(settings, make_tools or load_tools)
    queues = ",".join(queue_name(name) for name in settings.worker_classes)
    celery.worker_main(
        [
            "worker",
            "--pool=prefork",
            "--concurrency=1",  # one model in memory, and all cores or the GPU for one job
            f"--queues={queues}",
            "--without-gossip",
            "--without-mingle",
            "--loglevel=INFO",
        ]
    )


def create_worker(settings: Settings, make_tools: Callable[[Settings], Tools]) -> Celery:
    """Return the Celery application with its one task; its children begin by themselves."""
    celery = create_celery(settings.broker_url)
    process = WorkerProcess(settings, make_tools)

    # The hard limit kills a child that hangs; the sweep has failed its row by then.
    @celery.task(name=GENERATE, time_limit=RUNNING_MAX.total_seconds())  # type: ignore[untyped-decorator]
    def task(generation_id: str) -> None:
        generate(process, uuid.UUID(generation_id))

    def begin(**_: object) -> None:
        process.begin()

    def end(**_: object) -> None:
        process.end()

    def stop_soon(**_: object) -> None:
        process.stop_soon()

    signals.worker_shutting_down.connect(stop_soon, weak=False)
    signals.worker_process_init.connect(begin, weak=False)
    signals.worker_process_shutdown.connect(end, weak=False)
    return celery


def load_tools(settings: Settings) -> Tools:
    """Import and build the engine and the filter that serve; takes seconds, so in a child."""
    import torch  # noqa: PLC0415 - the parent forks, and must not have run torch

    from inference.engine.render import PipelineEngine  # noqa: PLC0415 - as above
    from inference.safety.image import ImageFilter  # noqa: PLC0415 - as above

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return Tools(engine=PipelineEngine(settings.weights_folder), image_filter=ImageFilter())


def generate(process: WorkerProcess, generation_id: uuid.UUID) -> None:
    """Make the pictures of a waiting generation; do nothing for any other.

    Ends it as finished (settled), refused, cancelled or failed (released). Raises only what is a
    fault of ours, after the generation was failed.
    """
    database = process.database
    claimed = persist(database, lambda s: lifecycle.claim(s, generation_id, process.name))
    if claimed is None:
        return  # a second message, or cancelled while it waited
    with process.attempt(claimed) as attempt:
        try:
            _make(process, attempt)
        except Cancelled:
            persist(database, attempt.give_up)
        except AtelierError as error:
            _log.warning("Generation %s failed: %s", generation_id, error.message)
            end = partial(lifecycle.fail, claimed=claimed, code=error.code, message=error.message)
            persist(database, end)
        except Exception:
            end = partial(
                lifecycle.fail, claimed=claimed, code="internal", message=INTERNAL_MESSAGE
            )
            persist(database, end)
            raise


def _make(process: WorkerProcess, attempt: Attempt) -> None:
    claimed = attempt.claimed
    request, model = claimed.asked, models.find(claimed.model)
    member = persist(process.database, lambda session: get_member(session, claimed.member_id))
    assert member is not None, "members are never deleted"
    require_seat(member)  # the seat may have gone while the job waited
    persist(process.database, lambda session: licence.require_valid(session, claimed.model))

    if not process.is_warm:
        attempt.note("loading", message="The worker is loading its libraries.")
    tools = process.tools()
    tools.image_filter.load()  # fails closed before the work, not after it
    persist(process.database, process.known.refresh)

    def report(message: str) -> None:
        process.say("loading", message)
        attempt.note("loading", message=message)

    tools.engine.load(model, report)
    process.say("busy", f"Making a picture with {model.name}.")
    images = tools.engine.render(request, model, attempt.on_step, attempt.cancelled)
    verdicts = [
        process.known.check(image, claimed.organisation_id) or tools.image_filter.check(image)
        for image in images
    ]
    made = _store(process, tools.engine, claimed, list(zip(images, verdicts, strict=True)))
    if not all(picture.refused for picture in made):
        attempt.note("saved", pictures=sum(not picture.refused for picture in made))
    _deliver(process, claimed, made, verdicts)


def _store(
    process: WorkerProcess,
    engine: Engine,
    claimed: Generation,
    judged: Sequence[tuple[Image, ImageVerdict]],
) -> list[Made]:
    """Write the pictures, each under a new id: a late attempt overwrites nothing.

    The refused ones too: a reviewer has to be able to judge the filter.
    """
    made: list[Made] = []
    storage, model = process.storage, models.find(claimed.model)
    for index, (image, verdict) in enumerate(judged):
        seed = picture_seed(claimed.asked, index)
        is_refused = verdict.action == "block"
        made.append(Made(id=uuid.uuid4(), index=index, seed=seed, refused=is_refused))
        origin = Origin(model=model, generation_id=str(claimed.id), seed=seed, build=engine.build)
        files = stamp(image, origin, process.papers)
        made[-1] = replace(
            made[-1],
            key=picture_key(made[-1].id),
            thumbnail_key=thumbnail_key(made[-1].id),
            sha256=hashlib.sha256(files.original).hexdigest(),
        )
        try:
            storage.put(picture_key(made[-1].id), files.original)
            storage.put(thumbnail_key(made[-1].id), files.thumbnail)
        except OSError as error:
            _discard(storage, made)
            raise StorageFailed(
                "The picture could not be written: the disk is full or its folder is gone. "
                "Nothing was charged; tell whoever runs the studio."
            ) from error
    return made


def _deliver(
    process: WorkerProcess,
    claimed: Generation,
    made: Sequence[Made],
    verdicts: Sequence[ImageVerdict],
) -> None:
    """End the generation and write the verdicts, in one transaction; else take the files back."""

    def end(session: Session) -> bool:
        if all(picture.refused for picture in made):
            won = lifecycle.refuse(
                session, claimed, code="output_refused", message=REFUSED_MESSAGE, made=made
            )
        else:
            won = lifecycle.finish(session, claimed, made)
        if won:
            _record(session, claimed, verdicts)
        return won

    if persist(process.database, end):
        return
    if persist(process.database, lambda s: lifecycle.landed(s, made)):
        return  # the first try had committed, and only its answer was lost
    _discard(process.storage, made)
    raise Cancelled  # asked for after the last step, or the row went to another attempt


def _record(session: Session, claimed: Generation, verdicts: Sequence[ImageVerdict]) -> None:
    for index, verdict in enumerate(verdicts):
        moderation.record(
            session,
            organisation_id=claimed.organisation_id,
            member_id=claimed.member_id,
            generation_id=claimed.id,
            picture_index=index,
            subject="image",
            action=verdict.action,
            category=verdict.category,
            score=verdict.score,
            source=verdict.source,
            excerpt=claimed.asked.prompt,
        )


def _discard(storage: Storage, made: Sequence[Made]) -> None:
    for picture in made:
        for key in (picture.key, picture.thumbnail_key):
            if key is not None:
                with suppress(OSError):  # a disk that fails may keep it; no row names it
                    storage.delete(key)
