"""Money in lots: which top-up or grant paid for which picture."""

revision = "0005_lots"
down_revision = "0004_hold_member"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
