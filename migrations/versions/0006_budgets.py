"""Price versions as rows, and budgets inside a shared balance."""

revision = "0006_budgets"
down_revision = "0005_lots"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
