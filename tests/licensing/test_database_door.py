"""The door to the database: a server that hung up costs nobody a request."""

import psycopg
from sqlalchemy import text

from licensing.db import Database


def test_connections_that_the_server_ended_are_replaced_unnoticed(database: Database) -> None:
    with database.read() as first:
        first.execute(text("SELECT 1"))
    with psycopg.connect(database.url, autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert len(ended) >= 1
    with database.transaction() as session:
        assert session.scalars(text("SELECT 2")).one() == 2
