"""From judged pictures to an ended generation: marked, signed, stored, and paid for.

Files come before the row that names them, and are taken back if that row is not won. Called by the
worker once a generation.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ClassVar

from PIL.Image import Image
from sqlalchemy.orm import Session

from inference import lifecycle, models
from inference.attempt import persist
from inference.engine import Build, Cancelled
from inference.generations import Generation
from inference.lifecycle import Made
from inference.process import WorkerProcess
from inference.provenance.papers import Papers
from inference.provenance.stamp import Files, Origin, stamp
from inference.request import picture_seed
from inference.safety import ImageVerdict
from inference.storage import Storage, picture_key, thumbnail_key
from licensing import moderation
from licensing.errors import AtelierError

REFUSED_MESSAGE = (
    "The output filter refused every picture of this, so none is shown and nothing was charged. "
    "Change the prompt and try again."
)


class StorageFailed(AtelierError):  # noqa: N818 - says what happened
    """The pictures could not be written: a full disk, a folder that went away."""

    code: ClassVar[str] = "storage_failed"
    status: ClassVar[int] = 503


def judge_and_stamp(
    images: Sequence[Image],
    judge: Callable[[Image], ImageVerdict],
    origins: Sequence[Origin],
    papers: Papers,
) -> list[tuple[ImageVerdict, Files]]:
    """What the filters say of each picture, and its files, made while they judge.

    The refused ones get files too: a reviewer has to be able to judge the filter. Raises
    `FilterUnavailable` and `PapersProblem`, after which nothing is kept.
    """
    with ThreadPoolExecutor(1) as beside:
        verdicts = [beside.submit(judge, image) for image in images]
        files = [
            stamp(image, origin, papers) for image, origin in zip(images, origins, strict=True)
        ]
        return [(verdict.result(), one) for verdict, one in zip(verdicts, files, strict=True)]


def origins_of(claimed: Generation, build: Build) -> list[Origin]:
    """Where each picture of a generation comes from."""
    asked, model = claimed.asked, models.find(claimed.model)
    seeds = [picture_seed(asked, index) for index in range(asked.images)]
    return [Origin(model, str(claimed.id), seed, build, asked.adapters) for seed in seeds]


def store(
    storage: Storage, claimed: Generation, judged: Sequence[tuple[ImageVerdict, Files]]
) -> list[Made]:
    """Write the pictures, each under a new id: a late attempt overwrites nothing.

    Raises `StorageFailed`.
    """
    made: list[Made] = []
    for index, (verdict, files) in enumerate(judged):
        picture_id = uuid.uuid4()
        one = Made(
            id=picture_id,
            index=index,
            seed=picture_seed(claimed.asked, index),
            refused=verdict.action == "block",
            key=picture_key(picture_id),
            thumbnail_key=thumbnail_key(picture_id),
            sha256=hashlib.sha256(files.original).hexdigest(),
        )
        made.append(one)
        try:
            put(storage, picture_id, files)
        except OSError as error:
            _discard(storage, made)
            raise StorageFailed(
                "The picture could not be written: the disk is full or its folder is gone. "
                "Nothing was charged; tell whoever runs the studio."
            ) from error
    return made


def put(storage: Storage, picture_id: uuid.UUID, files: Files) -> None:
    """Write both files at once: most of it is waiting for the disk. Raises `OSError`."""
    with ThreadPoolExecutor(1) as beside:
        small = beside.submit(storage.put, thumbnail_key(picture_id), files.thumbnail)
        storage.put(picture_key(picture_id), files.original)
        small.result()


def deliver(
    process: WorkerProcess,
    claimed: Generation,
    made: Sequence[Made],
    verdicts: Sequence[ImageVerdict],
) -> None:
    """End the generation and write the verdicts, in one transaction; else take the files back.

    Raises `Cancelled` if the end is somebody else's by now.
    """

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
