"""Usage lines with all that a bill groups by, and closed months."""

revision = "0010_bills"
down_revision = "0009_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
