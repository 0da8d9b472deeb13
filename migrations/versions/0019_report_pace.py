"""Reports counted by address and hour, for all web processes together."""

from alembic import op

revision = "0019_report_pace"
down_revision = "0018_adapters"
branch_labels = None
depends_on = None

PACE = """
CREATE UNLOGGED TABLE report_pace (
    address TEXT NOT NULL,
    hour TIMESTAMPTZ NOT NULL,
    sent BIGINT NOT NULL,
    CONSTRAINT pk_report_pace PRIMARY KEY (address, hour)
);
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(PACE)


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE report_pace")
