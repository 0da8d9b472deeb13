"""The one door to PostgreSQL: engine, transactions and the base of every table.

`Database.transaction()` is written in use-cases and entry points alone; every other function
receives the `Session` and never commits. What has to follow a commit (sending a task, calling a
payment provider) stands on the line after the `with` block.
"""

import select
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from psycopg import ClientCursor, Connection
from psycopg.pq import ConnStatus, TransactionStatus
from sqlalchemy import (
    BigInteger,
    DateTime,
    Engine,
    MetaData,
    Text,
    Uuid,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import DeclarativeBase, Session

POOL_SIZE = 10  # a web process follows events on one connection and serves short queries on few
STATEMENT_TIMEOUT_MS = 15_000  # every query here is an index lookup; a longer one is a fault
LOCK_TIMEOUT_MS = 5_000  # a wallet's row lock is held for milliseconds
CONNECT_TIMEOUT_SECONDS = 5

_open_transaction: ContextVar[bool] = ContextVar("open_transaction", default=False)


def now() -> datetime:
    """Return the time of day in UTC, timezone-aware."""
    return datetime.now(UTC)


def in_transaction() -> bool:
    """Whether this thread has a transaction open; whoever asks a network first makes sure not."""
    return _open_transaction.get()


def connect(url: str) -> "Database":
    """Describe the database at `url` (postgresql://...); nothing is opened until first use."""
    timeouts = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=POOL_SIZE,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": f"{timeouts} -c timezone=UTC",
        },
    )
    event.listen(engine, "checkout", _refuse_dead)
    return Database(url=url, engine=engine)


def _refuse_dead(connection: DBAPIConnection, *_: object) -> None:
    """Let the pool connect anew if the server hung up: a restart must not cost anyone a request.

    A server that ends says so on the socket of an idle connection. Looking there costs nothing,
    while asking the server each time was a fifth of a short transaction.
    """
    pgconn = cast("Connection[Any]", connection).pgconn
    if pgconn.status != ConnStatus.OK:
        raise InvalidatePoolError
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database, 15 or newer."""

    url: str
    engine: Engine

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commit at the end of the block, roll back if it raises; refuses to nest.

        Raises `RuntimeError` inside another transaction of this thread: money and job rows are
        durable exactly when the block that wrote them has ended.
        """
        if _open_transaction.get():
            raise RuntimeError("a transaction is already open: pass its session on instead")
        token = _open_transaction.set(True)
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
                _require_ended(session)
        finally:
            _open_transaction.reset(token)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that cannot write; it never commits."""
        with Session(self.engine, expire_on_commit=False) as session:
            session.execute(text("SET TRANSACTION READ ONLY"))
            yield session

    def dispose(self) -> None:
        """Close every pooled connection; a fork or the end of the process is near."""
        self.engine.dispose()


def commit_with(session: Session, script: str, values: Mapping[str, object]) -> None:
    """Send a transaction's last statements and its COMMIT in one message.

    Between them the server waits for nobody, so that a lock which the statements take is held for
    as long as they and the commit run. If a statement fails the COMMIT is not reached: the error
    is raised, and `roll_back` is next. Nothing may be written after this; `transaction` raises
    `RuntimeError` if something is.
    """
    session.flush()
    connection = session.connection()
    driver = cast("Connection[Any]", connection.connection.driver_connection)
    # One message of several statements has no parameters: the driver writes them into the text.
    together = f"{ClientCursor(driver).mogrify(script.rstrip(), values)};\nCOMMIT"
    session.info["ended"] = driver
    connection.exec_driver_sql(together, execution_options={"no_parameters": True})


def roll_back(session: Session) -> None:
    """End a transaction whose `commit_with` failed, so that the session can read why."""
    cast("Connection[Any]", session.info["ended"]).rollback()


def _require_ended(session: Session) -> None:
    """Refuse what was sent after `commit_with`: it would be a transaction of its own, unasked."""
    driver = session.info.get("ended")
    if driver is None:
        return
    is_idle = driver.pgconn.transaction_status == TransactionStatus.IDLE
    if not is_idle or session.new or session.dirty or session.deleted:
        raise RuntimeError("something follows the end of the transaction")


class Base(DeclarativeBase):
    """The base of every table. Names of constraints are fixed so that migrations can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        int: BigInteger,
        str: Text,
        uuid.UUID: Uuid,
    }
