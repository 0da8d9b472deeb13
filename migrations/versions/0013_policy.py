"""What an organisation's admins made stricter in the use policy.

Revision ID: 0013_policy
Revises: 0012_scim
"""

from alembic import op

revision = "0013_policy"
down_revision = "0012_scim"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the log of settings; the latest row of a category counts."""
    op.execute(
        """
        CREATE TABLE policy_setting (
            id BIGINT GENERATED ALWAYS AS IDENTITY,
            organisation_id UUID NOT NULL,
            member_id UUID,
            category TEXT NOT NULL,
            action TEXT NOT NULL,
            reason TEXT NOT NULL,
            at TIMESTAMPTZ NOT NULL,
            CONSTRAINT pk_policy_setting PRIMARY KEY (id),
            CONSTRAINT ck_policy_setting_action CHECK (action IN ('label', 'review', 'block')),
            CONSTRAINT fk_policy_setting_organisation_id
                FOREIGN KEY (organisation_id) REFERENCES organisation (id),
            CONSTRAINT fk_policy_setting_member_id
                FOREIGN KEY (member_id) REFERENCES member (id)
        )
        """
    )
    op.execute(
        "CREATE INDEX ix_policy_setting_organisation_id_category_id "
        "ON policy_setting (organisation_id, category, id)"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON policy_setting "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON policy_setting "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Forget what was set: every category returns to its floor."""
    op.execute("DROP TABLE policy_setting")
