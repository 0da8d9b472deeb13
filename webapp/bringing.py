"""A LoRA on its way in: from a browser's file to a row that waits for its check.

The body of the request is the file itself, so that it goes to the disk piece by piece and never
through memory. Nothing is listed before it is whole, fits a model of this studio by its header and
lies where it belongs; whatever ends early, a refusal or a kill, leaves no row. The same file twice
is one LoRA, so a double click does no harm.
"""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from inference import models, queue
from inference.adapter_files import (
    FILE_BYTES_MAX,
    AdapterFiles,
    Arriving,
    FileRefused,
    too_large,
)
from inference.adapters import AdapterRefused, Summary, inspect
from licensing import adapters, agreements, moderation, seats
from licensing.adapters import Adapter, Brought, TriggersRefused
from licensing.errors import AtelierError
from licensing.seats import Member, NoSeat
from webapp.studio import Studio

PATH = "/loras/file"
AT_ONCE_MAX = 4  # uploads of this process; each holds a file and a share of the line
PIECE_BYTES = 2**20  # what goes to the disk at once


class Busy(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Other files are on their way in."""

    code = "busy"
    status = 429


def files_of(studio: Studio) -> AdapterFiles:
    """Return the folder of LoRAs, which the workers share."""
    return AdapterFiles(studio.settings.state / "adapters")


class Door:
    """Lets a few files in at a time."""

    def __init__(self, studio: Studio) -> None:
        """Open nothing yet."""
        self._studio = studio
        self._free = threading.BoundedSemaphore(AT_ONCE_MAX)

    async def bring(
        self,
        member: Member,
        body: AsyncIterator[bytes],
        *,
        stated: int | None,
        name: str,
        triggers: str,
    ) -> Adapter:
        """Take a file in; `stated` is its size in bytes as the browser says.

        Raises `NotAllowed`, `NoRoom`, `InvalidAdapter`, `AgreementRequired`, `AdapterRefused`,
        `FileRefused` and `Busy`, each with nothing kept.
        """
        files = files_of(self._studio)
        await run_in_threadpool(self._require_welcome, files, member, stated, (name, triggers))
        if not self._free.acquire(blocking=False):
            raise Busy("Other LoRAs are on their way in. Try again in a minute.")
        try:
            with files.arriving() as arriving:
                await _receive(body, arriving)
                return await run_in_threadpool(
                    self._put_on_shelf, member, files, arriving, (name, triggers)
                )
        except OSError as error:
            raise FileRefused(
                "The file could not be written: the disk is full or its folder is gone. Tell "
                "whoever runs the studio."
            ) from error
        finally:
            self._free.release()

    def _require_welcome(
        self, files: AdapterFiles, member: Member, stated: int | None, words: tuple[str, str]
    ) -> None:
        """Say no before a gigabyte has come."""
        size = stated or 0
        name, triggers = words
        try:
            with self._studio.database.read() as session:
                agreements.require_accepted(session, member.id)
                adapters.require_room(session, member, size)
                adapters.require_words(session, member, name=name, triggers=triggers)
        except TriggersRefused as refused:
            self._record(member, refused)
            raise
        files.require_space(size)

    def _record(self, member: Member, refused: TriggersRefused) -> None:
        """Let refused trigger words count like a prompt: nobody tries out the rules by them."""
        with self._studio.database.transaction() as session:
            moderation.record(
                session,
                organisation_id=member.organisation_id,
                member_id=member.id,
                generation_id=None,
                subject="prompt",
                action="block",
                category=refused.verdict.category,
                source=f"rules:{refused.verdict.rule}",
                excerpt=refused.words,
            )

    def _put_on_shelf(
        self, member: Member, files: AdapterFiles, arriving: Arriving, words: tuple[str, str]
    ) -> Adapter:
        if not arriving.bytes:
            raise FileRefused("The file is empty.")
        family, summary = recognise(arriving.path, self._studio.settings.weights)
        brought = Brought(
            sha256=arriving.sha256,
            bytes=arriving.bytes,
            family=family,
            layout=summary.layout,
            layers=summary.layers,
            rank=summary.rank,
        )
        name, triggers = words
        with self._studio.database.transaction() as session:
            adapters.lock_file(session, brought.sha256)
            fresh = seats.get_member(session, member.id)
            if fresh is None:
                raise NoSeat("You are no longer a member of this organisation.")
            adapter, waits = adapters.bring(session, fresh, brought, name=name, triggers=triggers)
            if not files.path(brought.sha256).is_file():
                files.lay_down(arriving)
        if waits:
            queue.enqueue_probe(self._studio.celery, adapter.id, adapter.family)
        return adapter


def recognise(path: Path, weights: Path) -> tuple[str, Summary]:
    """Say which family of models a file was made for, and what it is to them.

    Raises `AdapterRefused` with what the first of them says against it.
    """
    refusal: AdapterRefused | None = None
    asked: set[str] = set()
    for model in models.CATALOGUE:
        folder = models.locate(model, weights)
        if folder is None or model.worker_class in asked:
            continue
        asked.add(model.worker_class)  # Raw and Turbo have the same layers
        try:
            return model.worker_class, inspect(path, folder)
        except AdapterRefused as error:
            refusal = refusal or error
    raise refusal or AdapterRefused(
        "No model lies on the machine of this page, so the file cannot be checked against one. "
        "Tell whoever runs the studio."
    )


async def _receive(body: AsyncIterator[bytes], arriving: Arriving) -> None:
    held = bytearray()
    try:
        async for piece in body:
            held += piece
            if arriving.bytes + len(held) > FILE_BYTES_MAX:
                raise too_large()
            if len(held) >= PIECE_BYTES:
                await run_in_threadpool(arriving.take, bytes(held))
                held.clear()
    except ClientDisconnect as error:  # said to nobody, and no fault of ours
        raise FileRefused("The upload broke off, and nothing was kept. Try again.") from error
    await run_in_threadpool(arriving.take, bytes(held))
