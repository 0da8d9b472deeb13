"""What every test stands on: a real PostgreSQL, cloned anew for each test, and a Valkey."""

import os

# Before torch is imported: the tests are the same with and without a GPU. `make test-card` has its
# own, and says so.
if "ATELIER_TEST_CARD" not in os.environ:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import gc
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from licensing.db import Database, connect
from migrations.run import upgrade
from webapp.host.servers import Server, start_postgres, start_valkey

TEMPLATE = "atelier"  # the embedded server's own database; migrated, then only ever cloned

# Where there is a disk in memory the servers lie on it: a clone takes 40 ms there, 130 ms on /tmp.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# Tests want speed from the disk, not durability; all three settings take effect on reload.
FAST_SETTINGS = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")

# Files that take minutes begin first: one that is begun last would be waited for alone.
LONGEST = ("webapp/test_up.py", "inference/test_worker_killed.py", "browser/test_accessibility.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; all else stays in its order."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_collection_finish() -> None:
    """Collect garbage less often, and not among what is imported: it took a fifth of the time.

    Each test leaves an application behind, and a look at all of them takes a third of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One PostgreSQL for the test run, its template database at the newest migration."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-test-", dir=SCRATCH))
    server = start_postgres(folder / "postgres")
    with psycopg.connect(server.url, autocommit=True) as connection:
        for setting in FAST_SETTINGS:
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    upgrade(server.url)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(postgres: Server) -> Iterator[str]:
    """The URL of a database of this test alone."""
    name = f"test_{uuid.uuid4().hex}"
    admin = postgres.url.replace(f"/{TEMPLATE}?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )
    yield postgres.url.replace(f"/{TEMPLATE}?", f"/{name}?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of this test alone, migrated and empty."""
    database = connect(database_url)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def broker_url() -> Iterator[str]:
    """One Valkey for the test run."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-test-", dir=SCRATCH))
    server = start_valkey(folder)
    yield server.url
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
