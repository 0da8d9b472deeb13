"""Payments: the provider's events, top-ups on their way, subscriptions and invoices."""

revision = "0007_payments"
down_revision = "0006_budgets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
