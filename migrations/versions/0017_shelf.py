"""The star that a member gives to a picture."""

from alembic import op

revision = "0017_shelf"
down_revision = "0016_money"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A time, empty for all that is there; the index holds the few that are starred."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        ALTER TABLE generation ADD COLUMN starred_at TIMESTAMPTZ;
        CREATE INDEX ix_generation_starred ON generation (member_id, created_at, id)
            WHERE starred_at IS NOT NULL;
        """
    )


def downgrade() -> None:
    """Forget the stars."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE generation DROP COLUMN starred_at")
