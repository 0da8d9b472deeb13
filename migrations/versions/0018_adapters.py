"""A team's LoRAs, what was done to them, and the cases about them."""

from alembic import op

revision = "0018_adapters"
down_revision = "0017_shelf"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE adapter (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    uploader_id UUID NOT NULL,
    name TEXT NOT NULL,
    triggers TEXT NOT NULL,
    family TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    layout TEXT NOT NULL,
    layers BIGINT NOT NULL,
    rank BIGINT,
    judgement TEXT,
    reason TEXT,
    category TEXT,
    grid TEXT,
    probed_at TIMESTAMPTZ,
    verdict_id BIGINT,
    attempts BIGINT NOT NULL,
    worker TEXT,
    sent_at TIMESTAMPTZ NOT NULL,
    problem TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    removed_at TIMESTAMPTZ,
    CONSTRAINT pk_adapter PRIMARY KEY (id),
    CONSTRAINT uq_adapter_organisation_id_sha256 UNIQUE (organisation_id, sha256),
    CONSTRAINT ck_adapter_judgement CHECK (judgement IN ('ready', 'review', 'refused')),
    CONSTRAINT ck_adapter_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_adapter_name CHECK (char_length(name) BETWEEN 1 AND 80),
    CONSTRAINT ck_adapter_sizes CHECK (bytes > 0 AND layers > 0),
    CONSTRAINT fk_adapter_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_adapter_uploader_id FOREIGN KEY (uploader_id) REFERENCES member (id),
    CONSTRAINT fk_adapter_verdict_id FOREIGN KEY (verdict_id) REFERENCES verdict (id)
);
CREATE INDEX ix_adapter_sha256 ON adapter (sha256);
CREATE INDEX ix_adapter_checking ON adapter (sent_at)
    WHERE judgement IS NULL AND removed_at IS NULL;

CREATE TABLE adapter_change (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    adapter_id UUID,
    member_id UUID,
    kind TEXT NOT NULL,
    sha256 TEXT,
    category TEXT,
    grid TEXT,
    verdict_id BIGINT,
    decision_of_case BIGINT,
    detail TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_adapter_change PRIMARY KEY (id),
    CONSTRAINT ck_adapter_change_kind CHECK (kind IN (
        'brought', 'renamed', 'ready', 'review', 'refused', 'removed',
        'brought_again', 'withdrawn', 'opened_to_all', 'kept_to_admins')),
    CONSTRAINT fk_adapter_change_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_adapter_change_adapter_id FOREIGN KEY (adapter_id) REFERENCES adapter (id),
    CONSTRAINT fk_adapter_change_member_id FOREIGN KEY (member_id) REFERENCES member (id)
);
CREATE INDEX ix_adapter_change_organisation_id_kind
    ON adapter_change (organisation_id, kind, id);
CREATE INDEX ix_adapter_change_adapter_id ON adapter_change (adapter_id, id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON adapter_change
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON adapter_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER chain_row AFTER INSERT ON adapter_change
    FOR EACH ROW EXECUTE FUNCTION chain_row();

ALTER TABLE review_case ADD COLUMN adapter_id UUID;
"""
KINDS = "'prompt', 'picture', 'report', 'take_down', 'appeal', 'abuse'"
SUBJECTS = "'prompt', 'image'"


def upgrade() -> None:
    """New tables; cases and verdicts learn of one thing more that they can be about."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(TABLES)
    _allow(kinds=f"{KINDS}, 'adapter'", subjects=f"{SUBJECTS}, 'adapter'")


def downgrade() -> None:
    """Forget the LoRAs; refused while there are cases or verdicts about some."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    _allow(kinds=KINDS, subjects=SUBJECTS)
    op.execute("ALTER TABLE review_case DROP COLUMN adapter_id")
    op.execute("DROP TABLE adapter_change, adapter")


def _allow(*, kinds: str, subjects: str) -> None:
    for table, column, words in (
        ("review_case", "kind", kinds),
        ("verdict", "subject", subjects),
    ):
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{column} CHECK ({column} IN ({words}))"
        )
