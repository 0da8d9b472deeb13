"""The migrations go up, describe exactly the tables of the code, and go down again."""

import inspect
from types import ModuleType

import psycopg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import inference.events
import inference.fingerprints
import inference.generations
import inference.presence
import licensing.adapters.tables
import licensing.agreements
import licensing.api_keys
import licensing.api_pace
import licensing.appeals
import licensing.bills.clock
import licensing.bills.tables
import licensing.block_list
import licensing.budget_limits
import licensing.budgets
import licensing.cases
import licensing.chain.tables
import licensing.decisions
import licensing.directories
import licensing.documents
import licensing.domains
import licensing.evidence
import licensing.invites
import licensing.ledger.tables
import licensing.licence
import licensing.licence_reminders
import licensing.looks
import licensing.model_switches
import licensing.moderation
import licensing.payments.bill_tables
import licensing.payments.tables
import licensing.policy
import licensing.prices
import licensing.provisioning
import licensing.report_pace
import licensing.reports
import licensing.review_access
import licensing.seat_days
import licensing.seat_history
import licensing.seats.people
import licensing.team_tables
import licensing.upload_verdicts
import licensing.usage
import licensing.usage_sums
import webapp.sso.attempts
import webapp.sso.backchannel
import webapp.sso.sessions
from licensing.db import Base, Database
from migrations.run import downgrade, upgrade

ROOMS_WITH_TABLES: tuple[ModuleType, ...] = (
    inference.fingerprints,
    licensing.review_access,
    licensing.report_pace,
    licensing.reports,
    licensing.looks,
    licensing.evidence,
    licensing.decisions,
    licensing.cases,
    licensing.appeals,
    licensing.adapters.tables,
    licensing.agreements,
    licensing.api_keys,
    licensing.api_pace,
    licensing.bills.clock,
    licensing.bills.tables,
    licensing.block_list,
    licensing.budget_limits,
    licensing.budgets,
    licensing.chain.tables,
    licensing.documents,
    licensing.domains,
    licensing.directories,
    licensing.invites,
    licensing.provisioning,
    licensing.ledger.tables,
    licensing.licence,
    licensing.licence_reminders,
    licensing.model_switches,
    licensing.moderation,
    licensing.payments.bill_tables,
    licensing.payments.tables,
    licensing.policy,
    licensing.prices,
    licensing.seat_days,
    licensing.seat_history,
    licensing.seats.people,
    licensing.team_tables,
    licensing.upload_verdicts,
    licensing.usage,
    licensing.usage_sums,
    inference.events,
    inference.generations,
    inference.presence,
    webapp.sso.attempts,
    webapp.sso.backchannel,
    webapp.sso.sessions,
)


def test_the_migrated_database_has_the_tables_of_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_each_table_is_defined_in_exactly_one_room() -> None:
    owners = {
        name: [
            room.__name__ for room in ROOMS_WITH_TABLES if mapper.class_.__module__ == room.__name__
        ]
        for mapper in Base.registry.mappers
        for name in [mapper.class_.__name__]
        if not inspect.getmodule(mapper.class_).__name__.startswith("test")  # type: ignore[union-attr]
    }
    assert all(len(rooms) == 1 for rooms in owners.values()), owners


def test_every_migration_goes_down_and_up_again(database_url: str) -> None:
    downgrade(database_url, "base")
    with psycopg.connect(database_url) as connection:
        left = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename <> 'alembic_version'"
        ).fetchall()
        functions = connection.execute(
            "SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace"
            " WHERE n.nspname = 'public'"
        ).fetchall()
    assert left == []
    assert functions == []
    upgrade(database_url)
