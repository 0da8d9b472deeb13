"""Run Alembic's migrations in one transaction on the connection or URL that the caller gives."""

from alembic import context
from sqlalchemy import Connection, create_engine, text

LOCK_TIMEOUT_MS = 5_000  # a migration that waits longer behind traffic should fail, not block it


def run(connection: Connection) -> None:
    """Apply the requested revisions; one advisory lock keeps two starters apart."""
    connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
    connection.commit()
    context.configure(connection=connection, transaction_per_migration=False)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('atelier migrations'))"))
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = context.config.get_main_option("sqlalchemy.url") or ""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        with engine.connect() as own:
            run(own)
    finally:
        engine.dispose()
