"""Migrations on a database that has lived: a million lines, and traffic while they wait."""

import time

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from benchmarks.bills import END, START, fill, people
from licensing.audit import audit
from licensing.db import Database
from licensing.usage_sums import summary
from migrations.run import downgrade, upgrade

LINES = 1_000_000
FIRST = "0004_hold_member"  # before lots, budgets, payments and bills


@pytest.mark.nightly
def test_they_go_down_and_up_over_a_million_lines(database: Database) -> None:
    organisation_id = people(database).organisation_id
    fill(database.url, organisation_id, LINES)
    with database.read() as session:
        before = summary(session, organisation_id, START, END)
    database.dispose()
    downgrade(database.url, FIRST)
    with psycopg.connect(database.url) as connection:
        rows = connection.execute("SELECT count(*) FROM usage_line").fetchone()
    assert rows == (LINES,)
    upgrade(database.url)
    with database.read() as session:
        assert summary(session, organisation_id, START, END) == before
    with database.read() as session:
        assert audit(session) == []


@pytest.mark.nightly
def test_a_migration_that_waits_behind_traffic_fails_and_changes_nothing(
    database: Database,
) -> None:
    with psycopg.connect(database.url) as busy:
        busy.execute("LOCK TABLE usage_line IN ROW EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(OperationalError, match="lock timeout"):
            downgrade(database.url, "0009_access")
        assert time.monotonic() - begun < 20, "five seconds, not for ever"
    with psycopg.connect(database.url) as connection:
        found = connection.execute("SELECT count(*) FROM usage_day").fetchone()
    assert found == (0,)
    downgrade(database.url, "0009_access")
    upgrade(database.url)
