"""Directories that keep an organisation's people up to date, their tokens and whom they sent."""

from alembic import op

revision = "0012_scim"
down_revision = "0011_block_list"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; nobody is provisioned yet."""
    op.execute(TABLES)


def downgrade() -> None:
    """Forget them. Members stay; who never signed in cannot do so any more."""
    for table in ("provisioned", "scim_token", "directory"):
        op.execute(f"DROP TABLE {table}")


TABLES = """
CREATE TABLE directory (
    organisation_id UUID NOT NULL,
    issuer TEXT NOT NULL,
    seat_policy TEXT NOT NULL,
    created_by UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_directory PRIMARY KEY (organisation_id),
    CONSTRAINT ck_directory_seat_policy CHECK (seat_policy IN ('seat', 'no_seat', 'ask')),
    CONSTRAINT fk_directory_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_directory_created_by FOREIGN KEY (created_by) REFERENCES member (id)
);
CREATE INDEX ix_directory_issuer ON directory (issuer);

CREATE TABLE scim_token (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    label TEXT NOT NULL,
    beginning TEXT NOT NULL,
    token_sha256 TEXT NOT NULL,
    scopes TEXT[] NOT NULL,
    created_by UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    CONSTRAINT pk_scim_token PRIMARY KEY (id),
    CONSTRAINT uq_scim_token_token_sha256 UNIQUE (token_sha256),
    CONSTRAINT fk_scim_token_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES directory (organisation_id),
    CONSTRAINT fk_scim_token_created_by FOREIGN KEY (created_by) REFERENCES member (id)
);
CREATE INDEX ix_scim_token_organisation_id ON scim_token (organisation_id);

CREATE TABLE provisioned (
    member_id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    user_name TEXT NOT NULL,
    user_name_key TEXT NOT NULL,
    external_id TEXT,
    attributes JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_provisioned PRIMARY KEY (member_id),
    CONSTRAINT uq_provisioned_organisation_id_user_name_key
        UNIQUE (organisation_id, user_name_key),
    CONSTRAINT uq_provisioned_organisation_id_external_id
        UNIQUE (organisation_id, external_id),
    CONSTRAINT fk_provisioned_member_id_organisation_id
        FOREIGN KEY (member_id, organisation_id) REFERENCES member (id, organisation_id)
);
CREATE INDEX ix_provisioned_external_id ON provisioned (external_id);
"""
