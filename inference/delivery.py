"""From judged pictures to an ended generation: marked, signed, stored, and paid for.

Files come before the row that names them, and are taken back if that row is not won. Called by the
worker once a generation.
"""

import hashlib
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from PIL.Image import Image
from sqlalchemy.orm import Session

from inference import lifecycle, models
from inference.attempt import persist
from inference.engine import Build, Cancelled
from inference.generations import Generation
from inference.lifecycle import Made
from inference.process import WorkerProcess
from inference.provenance.stamp import Origin, stamp
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


def store(
    process: WorkerProcess,
    build: Build,
    claimed: Generation,
    judged: Sequence[tuple[Image, ImageVerdict]],
) -> list[Made]:
    """Write the pictures, each under a new id: a late attempt overwrites nothing.

    The refused ones too: a reviewer has to be able to judge the filter. Raises `StorageFailed`.
    """
    made: list[Made] = []
    storage, model = process.storage, models.find(claimed.model)
    for index, (image, verdict) in enumerate(judged):
        seed = picture_seed(claimed.asked, index)
        is_refused = verdict.action == "block"
        made.append(Made(id=uuid.uuid4(), index=index, seed=seed, refused=is_refused))
        origin = Origin(model, str(claimed.id), seed, build, adapters=claimed.asked.adapters)
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
