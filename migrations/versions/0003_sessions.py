"""Signed-in browsers, sign-ins on their way, and the logout tokens already seen.

Revision ID: 0003_sessions
Revises: 0002_generations
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003_sessions"
down_revision = "0002_generations"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the three tables of the sign-in."""
    op.create_table(
        "web_session",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("cookie_sha256", sa.Text, nullable=False),
        sa.Column("member_id", sa.Uuid, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("provider_session", sa.Text),
        sa.Column("id_token", sa.Text),
        sa.Column("access_token", sa.Text),
        sa.Column("refresh_token", sa.Text),
        sa.Column("renew_at", TIME),
        sa.Column("renewing_until", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_web_session"),
        sa.UniqueConstraint("cookie_sha256", name="uq_web_session_cookie_sha256"),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name="fk_web_session_member_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_web_session_member_id", "web_session", ["member_id"])
    op.create_index("ix_web_session_expires_at", "web_session", ["expires_at"])
    op.create_index("ix_web_session_issuer_subject", "web_session", ["issuer", "subject"])
    op.create_table(
        "sign_in_attempt",
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("browser_sha256", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("pending", JSONB, nullable=False),
        sa.Column("next_path", sa.Text, nullable=False),
        sa.Column("invite_token", sa.Text),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("state", name="pk_sign_in_attempt"),
    )
    op.create_index("ix_sign_in_attempt_expires_at", "sign_in_attempt", ["expires_at"])
    op.create_table(
        "logout_token",
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("jti", sa.Text, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti", name="pk_logout_token"),
    )


def downgrade() -> None:
    """Drop them; everybody is signed out."""
    op.drop_table("logout_token")
    op.drop_table("sign_in_attempt")
    op.drop_table("web_session")
