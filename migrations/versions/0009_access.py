"""API keys: how programs act for a member."""

from alembic import op

revision = "0009_access"
down_revision = "0008_licence"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row a key; the key itself is kept nowhere."""
    op.execute(
        """
        CREATE TABLE api_key (
            id UUID NOT NULL,
            organisation_id UUID NOT NULL,
            member_id UUID NOT NULL,
            name TEXT NOT NULL,
            beginning TEXT NOT NULL,
            token_sha256 TEXT NOT NULL,
            created_at TIMESTAMPTZ NOT NULL,
            expires_at TIMESTAMPTZ,
            revoked_at TIMESTAMPTZ,
            revoked_by UUID,
            last_used_at TIMESTAMPTZ,
            CONSTRAINT pk_api_key PRIMARY KEY (id),
            CONSTRAINT uq_api_key_token_sha256 UNIQUE (token_sha256),
            CONSTRAINT fk_api_key_member_id_organisation_id
                FOREIGN KEY (member_id, organisation_id) REFERENCES member (id, organisation_id),
            CONSTRAINT fk_api_key_revoked_by FOREIGN KEY (revoked_by) REFERENCES member (id)
        );
        CREATE INDEX ix_api_key_organisation_id ON api_key (organisation_id, created_at);
        CREATE INDEX ix_api_key_member_id ON api_key (member_id) WHERE revoked_at IS NULL;
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE api_key")
