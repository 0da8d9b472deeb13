"""The beat: a small worker of its own that asks for a sweep every few seconds and does it.

It loads no torch and serves no other queue, so that the sweep runs while every GPU worker is busy,
hangs or is dead. The message travels through the broker like any other: where several hosts run a
beat, sweeps simply meet more often, which is safe. It also tidies the folder of pictures, where it
can be seen from here: one part every few minutes. And it closes the months that have ended, beside
the sweep and not before it, because a long month takes a minute. And it hashes the pictures that
have no fingerprint yet, so that a reported copy finds them, and links what was judged since into
the log (`licensing.chain`).
"""

import logging
import threading
from functools import partial

from celery import Celery, signals
from celery.beat import EmbeddedService
from sqlalchemy.exc import InterfaceError, OperationalError

from inference import adapter_files, probe
from inference.adapter_files import AdapterFiles
from inference.fingerprints import HASH_SECONDS, hash_new
from inference.orphans import TIDY_SECONDS, tidy
from inference.queue import (
    CLOSE,
    HASH,
    SEAL,
    SWEEP,
    SWEEP_QUEUE,
    TIDY,
    create_celery,
    enqueue,
    enqueue_probe,
)
from inference.settings import Settings
from inference.storage import Storage
from inference.sweep import SWEEP_SECONDS, sweep
from licensing import chain
from licensing.chain import checkpoints
from licensing.chain.signing import open_key
from licensing.db import Database, connect, now
from licensing.errors import AtelierError

CLOSE_SECONDS = 600.0  # looking takes a millisecond; a month is closed once
SEAL_SECONDS = 5.0  # for so long a row can be altered before it is in the log
SEAL_BATCHES_MAX = 10  # a second or two: the sweep must not wait for a million rows

SCHEDULE = {
    SWEEP: SWEEP_SECONDS,
    SEAL: SEAL_SECONDS,
    TIDY: TIDY_SECONDS,
    HASH: HASH_SECONDS,
    CLOSE: CLOSE_SECONDS,
}

_log = logging.getLogger(__name__)


def run_beat(settings: Settings) -> None:
    """Sweep every SWEEP_SECONDS until the process is told to stop."""
    celery = create_beat(settings)

    def start(**_: object) -> None:
        # A thread, not a child: nothing is left behind when this process is killed.
        EmbeddedService(celery, thread=True, scheduler_cls="celery.beat:Scheduler").start()

    signals.worker_ready.connect(start, weak=False)
    celery.worker_main(
        [
            "worker",
            "--pool=solo",
            f"--queues={SWEEP_QUEUE}",
            "--without-gossip",
            "--without-mingle",
            "--hostname=beat@%h",
            "--loglevel=WARNING",
        ]
    )


def create_beat(settings: Settings) -> Celery:
    """Return the Celery application with the sweep, the tidying, and their schedule."""
    celery = create_celery(settings.broker_url)
    database = connect(settings.database_url)
    storage = Storage(settings.pictures_folder)

    @celery.task(name=SWEEP)  # type: ignore[untyped-decorator]
    def task() -> None:
        _sweep(database, celery)

    @celery.task(name=TIDY)  # type: ignore[untyped-decorator]
    def tidy_task() -> None:
        try:
            tidy(database, storage)
            adapter_files.tidy(database, AdapterFiles(settings.adapters_folder), now())
        except (OperationalError, InterfaceError, OSError) as error:
            _log.warning("Orphan files were not looked for: %s", error)

    @celery.task(name=HASH)  # type: ignore[untyped-decorator]
    def hash_task() -> None:
        try:
            hash_new(database, storage)
        except (OperationalError, InterfaceError, OSError) as error:
            _log.warning("New pictures were not hashed: %s", error)

    @celery.task(name=CLOSE)  # type: ignore[untyped-decorator]
    def close_task() -> None:
        # Of two at once, here or on another host, the second one waits and finds nothing to do.
        threading.Thread(target=_close_months, args=(database,), daemon=True).start()

    @celery.task(name=SEAL)  # type: ignore[untyped-decorator]
    def seal_task() -> None:
        _seal(database, settings)

    celery.conf.beat_schedule = {
        task: {
            "task": task,
            "schedule": seconds,
            # A sweep that nobody took in time is worth nothing: the next one does its work.
            "options": {"queue": SWEEP_QUEUE, "expires": seconds},
        }
        for task, seconds in SCHEDULE.items()
    }
    return celery


def _sweep(database: Database, celery: Celery) -> None:
    try:
        swept = sweep(database, partial(enqueue, celery))
        for adapter_id, worker_class in probe.take_waiting(database):
            enqueue_probe(celery, adapter_id, worker_class)
    except (OperationalError, InterfaceError):
        _log.warning("The database is away; the next sweep will see.")
        return
    if swept.requeued or swept.failed or swept.expired:
        _log.warning("Repaired: %s", swept)


def _close_months(database: Database) -> None:
    from licensing import bills  # noqa: PLC0415 - its files need libraries that a sweep does not

    try:
        closed = bills.close_due(database, now())
    except (OperationalError, InterfaceError):
        _log.warning("The database is away; months are closed later.")
    except AtelierError as error:
        _log.error("A month was not closed: %s", error.message)
    else:
        for bill in closed:
            _log.warning("Closed %s for %s.", bill.starts_on, bill.organisation_name)


def _seal(database: Database, settings: Settings) -> None:
    """Link what was judged since, and sign how far the log has come."""
    try:
        chain.seal(database, batches_max=SEAL_BATCHES_MAX)
        key = open_key(settings.papers_folder)
        checkpoints.make(database, key, older_than=checkpoints.EVERY)
    except (OperationalError, InterfaceError):
        _log.warning("The database is away; the log is sealed later.")
    except AtelierError as error:
        _log.error("The log was sealed, but no checkpoint was signed: %s", error.message)
