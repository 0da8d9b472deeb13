"""API keys and SCIM tokens."""

revision = "0009_access"
down_revision = "0008_licence"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
