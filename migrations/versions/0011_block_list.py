"""Hashes of pictures that must not be made again."""

from alembic import op

revision = "0011_block_list"
down_revision = "0010_bills"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A list that only grows: taking a hash off it is a date, not a deletion."""
    op.execute(
        """
        CREATE TABLE blocked_hash (
            id BIGINT GENERATED ALWAYS AS IDENTITY,
            organisation_id UUID,
            pdq BYTEA NOT NULL,
            category TEXT NOT NULL,
            source TEXT NOT NULL,
            note TEXT NOT NULL,
            added_by UUID,
            added_at TIMESTAMPTZ NOT NULL,
            removed_by UUID,
            removed_at TIMESTAMPTZ,
            CONSTRAINT pk_blocked_hash PRIMARY KEY (id),
            CONSTRAINT ck_blocked_hash_pdq CHECK (octet_length(pdq) = 32),
            CONSTRAINT fk_blocked_hash_organisation_id
                FOREIGN KEY (organisation_id) REFERENCES organisation (id),
            CONSTRAINT fk_blocked_hash_added_by FOREIGN KEY (added_by) REFERENCES member (id),
            CONSTRAINT fk_blocked_hash_removed_by FOREIGN KEY (removed_by) REFERENCES member (id)
        );
        CREATE UNIQUE INDEX ix_blocked_hash_pdq
            ON blocked_hash (pdq, source, organisation_id) NULLS NOT DISTINCT
            WHERE removed_at IS NULL;
        CREATE INDEX ix_blocked_hash_removed_at
            ON blocked_hash (removed_at) WHERE removed_at IS NOT NULL;
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE blocked_hash")
