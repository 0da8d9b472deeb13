"""Tiers, teams, domains, attestations and models that were switched off."""

revision = "0008_licence"
down_revision = "0007_payments"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
