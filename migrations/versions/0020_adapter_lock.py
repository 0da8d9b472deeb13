"""Locks on LoRAs whose grid showed sexual content with minors, and the triggers that keep them."""

from alembic import op

revision = "0020_adapter_lock"
down_revision = "0019_report_pace"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE adapter_lock (
    adapter_id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    case_id BIGINT NOT NULL,
    locked_at TIMESTAMPTZ NOT NULL,
    keep_until TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_adapter_lock PRIMARY KEY (adapter_id),
    CONSTRAINT ck_adapter_lock_kept CHECK (keep_until > locked_at),
    CONSTRAINT fk_adapter_lock_adapter_id FOREIGN KEY (adapter_id) REFERENCES adapter (id),
    CONSTRAINT fk_adapter_lock_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_adapter_lock_case_id FOREIGN KEY (case_id) REFERENCES review_case (id)
);
"""

# What was refused before there was a lock for it is as much evidence.
EARLIER = """
INSERT INTO adapter_lock (adapter_id, organisation_id, case_id, locked_at, keep_until)
SELECT DISTINCT ON (adapter.id) adapter.id, adapter.organisation_id, review_case.id, now(),
       now() + interval '365 days'
  FROM adapter
  JOIN review_case ON review_case.adapter_id = adapter.id AND review_case.kind = 'adapter'
 WHERE adapter.judgement = 'refused'
   AND review_case.category IN ('minors', 'minors_sexual', 'minors-sexual', 'csam')
   AND review_case.outcome IS DISTINCT FROM 'allow'
 ORDER BY adapter.id, review_case.id;
"""

# As for pictures (0014): no verb of today or tomorrow deletes evidence by mistake.
GUARDS = """
CREATE FUNCTION keep_evidence_adapter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM adapter_lock WHERE adapter_id = OLD.id AND keep_until > now())
       AND (TG_OP = 'DELETE' OR NEW.judgement IS DISTINCT FROM 'refused'
            OR (OLD.id, OLD.organisation_id, OLD.uploader_id, OLD.name, OLD.triggers, OLD.sha256,
                OLD.grid, OLD.probed_at) IS DISTINCT FROM
               (NEW.id, NEW.organisation_id, NEW.uploader_id, NEW.name, NEW.triggers, NEW.sha256,
                NEW.grid, NEW.probed_at)) THEN
        RAISE EXCEPTION 'LoRA % is locked evidence', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER keep_evidence BEFORE DELETE OR UPDATE ON adapter
    FOR EACH ROW EXECUTE FUNCTION keep_evidence_adapter();

CREATE FUNCTION keep_adapter_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.keep_until < OLD.keep_until
       OR (OLD.adapter_id, OLD.organisation_id, OLD.case_id, OLD.locked_at) IS DISTINCT FROM
          (NEW.adapter_id, NEW.organisation_id, NEW.case_id, NEW.locked_at) THEN
        RAISE EXCEPTION 'an evidence lock is never taken off or shortened'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_evidence_lock BEFORE DELETE OR UPDATE ON adapter_lock
    FOR EACH ROW EXECUTE FUNCTION keep_adapter_lock();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON adapter_lock
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Create the locks, and lock what was refused before."""
    op.execute(TABLE)
    op.execute(EARLIER)
    op.execute(GUARDS)


def downgrade() -> None:
    """Take the locks back; the LoRAs and what was said of them stay."""
    op.execute(
        """
        DROP TRIGGER keep_evidence ON adapter;
        DROP TABLE adapter_lock;
        DROP FUNCTION keep_evidence_adapter, keep_adapter_lock;
        """
    )
