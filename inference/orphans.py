"""Files that no row names: what a worker left that was killed between storing and committing.

The beat looks at one of the 256 folders every few minutes, so that each is seen about once a day
and no look is long. Three things must hold before a file goes: it is older than any attempt can
be, no picture has its id, and it is younger than the first picture of this database; older files
belong to another database, and this one must not judge them.
"""

import logging
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import func, select

from inference.generations import Picture
from inference.storage import FOLDERS, Storage
from licensing.db import Database, now

TIDY_SECONDS = 300.0  # 256 folders in 21 hours
ORPHAN_AGE = timedelta(days=1)  # an attempt stores and commits within the hour, or never
IDS_MAX = 1000  # of one query

_log = logging.getLogger(__name__)


def tidy(database: Database, storage: Storage, moment: datetime | None = None) -> int:
    """Remove the orphans of the folder whose turn it is; return how many files went."""
    at = moment or now()
    turn = int(at.timestamp() // TIDY_SECONDS) % FOLDERS
    return remove_orphans(database, storage, turn, at)


def remove_orphans(database: Database, storage: Storage, folder: int, at: datetime) -> int:
    """Remove the files of one folder that no picture of `database` names.

    Raises `OSError` for a folder that cannot be read or written.
    """
    files = [file for file in storage.files(folder) if file.written_at < at - ORPHAN_AGE]
    unknown = _unknown(database, {file.picture_id for file in files})
    if not unknown:
        return 0
    with database.read() as session:
        first = session.scalar(select(func.min(Picture.created_at)))
    orphans = [
        file
        for file in files
        if file.picture_id in unknown and first is not None and file.written_at > first
    ]
    for file in orphans:
        file.path.unlink(missing_ok=True)
    if orphans:
        _log.warning("Removed %d picture files that no row names.", len(orphans))
    return len(orphans)


def _unknown(database: Database, ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    wanted, known = sorted(ids), set[uuid.UUID]()
    with database.read() as session:
        for start in range(0, len(wanted), IDS_MAX):
            part = wanted[start : start + IDS_MAX]
            known.update(session.scalars(select(Picture.id).where(Picture.id.in_(part))))
    return set(wanted) - known
