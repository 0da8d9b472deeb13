"""The beat: a small worker of its own that asks for a sweep every few seconds and does it.

It loads no torch and serves no other queue, so that the sweep runs while every GPU worker is busy,
hangs or is dead. The message travels through the broker like any other: where several hosts run a
beat, sweeps simply meet more often, which is safe. It also tidies the folder of pictures, where it
can be seen from here: one part every few minutes. And it closes the months that have ended, beside
the sweep and not before it, because a long month takes a minute.
"""

import logging
import threading
from functools import partial

from celery import Celery, signals
from celery.beat import EmbeddedService
from sqlalchemy.exc import InterfaceError, OperationalError

from inference.orphans import TIDY_SECONDS, tidy
from inference.queue import CLOSE, SWEEP, SWEEP_QUEUE, TIDY, create_celery, enqueue
from inference.settings import Settings
from inference.storage import Storage
from inference.sweep import SWEEP_SECONDS, sweep
from licensing.db import Database, connect, now
from licensing.errors import AtelierError

CLOSE_SECONDS = 600.0  # looking takes a millisecond; a month is closed once

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
        try:
            swept = sweep(database, partial(enqueue, celery))
        except (OperationalError, InterfaceError):
            _log.warning("The database is away; the next sweep will see.")
            return
        if swept.requeued or swept.failed or swept.expired:
            _log.warning("Repaired: %s", swept)

    @celery.task(name=TIDY)  # type: ignore[untyped-decorator]
    def tidy_task() -> None:
        try:
            tidy(database, storage)
        except (OperationalError, InterfaceError, OSError) as error:
            _log.warning("Orphan files were not looked for: %s", error)

    @celery.task(name=CLOSE)  # type: ignore[untyped-decorator]
    def close_task() -> None:
        # Of two at once, here or on another host, the second one waits and finds nothing to do.
        threading.Thread(target=_close_months, args=(database,), daemon=True).start()

    celery.conf.beat_schedule = {
        "sweep": {
            "task": SWEEP,
            "schedule": SWEEP_SECONDS,
            # A sweep that nobody took in time is worth nothing: the next one does its work.
            "options": {"queue": SWEEP_QUEUE, "expires": SWEEP_SECONDS},
        },
        "tidy": {
            "task": TIDY,
            "schedule": TIDY_SECONDS,
            "options": {"queue": SWEEP_QUEUE, "expires": TIDY_SECONDS},
        },
        "close": {
            "task": CLOSE,
            "schedule": CLOSE_SECONDS,
            "options": {"queue": SWEEP_QUEUE, "expires": CLOSE_SECONDS},
        },
    }
    return celery


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
