"""A hold's member belongs to the organisation whose money is held.

Revision ID: 0004_hold_member
Revises: 0003_sessions
"""

from alembic import op

revision = "0004_hold_member"
down_revision = "0003_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the hold name its member and organisation together."""
    op.create_unique_constraint("uq_member_id_organisation_id", "member", ["id", "organisation_id"])
    op.drop_constraint("fk_hold_member_id", "hold")
    op.create_foreign_key(
        "fk_hold_member_id_organisation_id",
        "hold",
        "member",
        ["member_id", "organisation_id"],
        ["id", "organisation_id"],
    )


def downgrade() -> None:
    """Let each be named by itself again."""
    op.drop_constraint("fk_hold_member_id_organisation_id", "hold")
    op.create_foreign_key("fk_hold_member_id", "hold", "member", ["member_id"], ["id"])
    op.drop_constraint("uq_member_id_organisation_id", "member")
