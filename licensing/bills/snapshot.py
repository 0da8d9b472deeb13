"""One look at the books: everything read inside sees the database at the same moment.

Proof and file must come from one snapshot, or a picture that is settled between them would make
them differ. A second connection besides the one that writes, because a COPY fills its connection.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session

from licensing.db import Database

LONG_TIMEOUT_MS = 600_000  # ten million lines; the database's usual limit is for pages


@contextmanager
def snapshot(database: Database) -> Iterator[Session]:
    """A session that reads only, sees one moment, and may take minutes."""
    with database.read() as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        be_patient(session)
        yield session


def be_patient(session: Session) -> None:
    """Allow a transaction what a page may not: minutes, and to wait for another closer."""
    session.execute(text(f"SET LOCAL statement_timeout = {LONG_TIMEOUT_MS}"))
    session.execute(text(f"SET LOCAL lock_timeout = {LONG_TIMEOUT_MS}"))
