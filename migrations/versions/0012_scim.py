"""Tokens by which a directory keeps an organisation's people up to date."""

revision = "0012_scim"
down_revision = "0011_block_list"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
