"""What the safety desk said of files that came with reports."""

from alembic import op

revision = "0021_upload_verdict"
down_revision = "0020_adapter_lock"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE upload_verdict (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    report_id BIGINT NOT NULL,
    action TEXT NOT NULL,
    category TEXT,
    score DOUBLE PRECISION NOT NULL,
    source TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_upload_verdict PRIMARY KEY (id),
    CONSTRAINT ck_upload_verdict_action CHECK (action IN ('allow', 'review', 'block')),
    CONSTRAINT ck_upload_verdict_score CHECK (score BETWEEN 0 AND 1),
    CONSTRAINT fk_upload_verdict_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_upload_verdict_report_id FOREIGN KEY (report_id) REFERENCES report (id),
    CONSTRAINT uq_upload_verdict_report_id UNIQUE (report_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON upload_verdict
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON upload_verdict
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER chain_row AFTER INSERT ON upload_verdict
    FOR EACH ROW EXECUTE FUNCTION chain_row();
"""


def upgrade() -> None:
    """Create the table; files that were brought before were not judged and are not kept."""
    op.execute(TABLE)


def downgrade() -> None:
    """Forget the verdicts; the reports stay."""
    op.execute("DROP TABLE upload_verdict")
