"""Reports, decisions, appeals and the looks at private work."""

from alembic import op

revision = "0014_cases"
down_revision = "0013_policy"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE review_case (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    priority BIGINT NOT NULL,
    category TEXT,
    member_id UUID,
    verdict_id BIGINT,
    about_id BIGINT,
    generation_id UUID,
    picture_index BIGINT,
    opened_at TIMESTAMPTZ NOT NULL,
    due_at TIMESTAMPTZ,
    outcome TEXT,
    decided_at TIMESTAMPTZ,
    decision_id BIGINT,
    CONSTRAINT pk_review_case PRIMARY KEY (id),
    CONSTRAINT ck_review_case_kind
        CHECK (kind IN ('prompt', 'picture', 'report', 'take_down', 'appeal', 'abuse')),
    CONSTRAINT ck_review_case_priority CHECK (priority BETWEEN 0 AND 2),
    CONSTRAINT ck_review_case_outcome CHECK (outcome IN ('block', 'allow')),
    CONSTRAINT ck_review_case_decided CHECK ((outcome IS NULL) = (decided_at IS NULL)),
    CONSTRAINT fk_review_case_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_review_case_member_id FOREIGN KEY (member_id) REFERENCES member (id),
    CONSTRAINT fk_review_case_verdict_id FOREIGN KEY (verdict_id) REFERENCES verdict (id),
    CONSTRAINT fk_review_case_about_id FOREIGN KEY (about_id) REFERENCES review_case (id),
    CONSTRAINT uq_review_case_verdict_id UNIQUE (verdict_id)
);
CREATE INDEX ix_review_case_open ON review_case (organisation_id, priority, due_at, id)
    WHERE outcome IS NULL;
CREATE INDEX ix_review_case_closed ON review_case (organisation_id, decided_at, id)
    WHERE outcome IS NOT NULL;
CREATE INDEX ix_review_case_member_id ON review_case (member_id, id);
CREATE INDEX ix_review_case_generation_id ON review_case (generation_id);
CREATE UNIQUE INDEX ix_review_case_abuse ON review_case (member_id)
    WHERE kind = 'abuse' AND outcome IS NULL;

CREATE TABLE decision (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    case_id BIGINT NOT NULL,
    reviewer_id UUID NOT NULL,
    action TEXT NOT NULL,
    category TEXT,
    reason TEXT NOT NULL,
    note TEXT NOT NULL,
    reverses BIGINT,
    effect TEXT NOT NULL,
    blocks_hash BOOLEAN NOT NULL,
    suspends BOOLEAN NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_decision PRIMARY KEY (id),
    CONSTRAINT ck_decision_action CHECK (action IN ('block', 'allow')),
    CONSTRAINT ck_decision_effect CHECK (effect IN ('none', 'withheld', 'released')),
    CONSTRAINT fk_decision_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_decision_case_id FOREIGN KEY (case_id) REFERENCES review_case (id),
    CONSTRAINT fk_decision_reviewer_id FOREIGN KEY (reviewer_id) REFERENCES member (id),
    CONSTRAINT fk_decision_reverses FOREIGN KEY (reverses) REFERENCES decision (id),
    CONSTRAINT uq_decision_reverses UNIQUE (reverses)
);
CREATE UNIQUE INDEX ix_decision_first ON decision (case_id) WHERE reverses IS NULL;
CREATE INDEX ix_decision_case_id ON decision (case_id, id);
CREATE INDEX ix_decision_organisation_id_at ON decision (organisation_id, at);

CREATE TABLE look (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    case_id BIGINT NOT NULL,
    reviewer_id UUID NOT NULL,
    what TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_look PRIMARY KEY (id),
    CONSTRAINT ck_look_what CHECK (what IN ('picture', 'colour', 'prompt')),
    CONSTRAINT ck_look_reason CHECK (char_length(reason) BETWEEN 3 AND 300),
    CONSTRAINT fk_look_organisation_id FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_look_case_id FOREIGN KEY (case_id) REFERENCES review_case (id),
    CONSTRAINT fk_look_reviewer_id FOREIGN KEY (reviewer_id) REFERENCES member (id)
);
CREATE INDEX ix_look_case_id_reviewer_id ON look (case_id, reviewer_id, at);
CREATE INDEX ix_look_organisation_id_at ON look (organisation_id, at);

CREATE TABLE appeal (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    case_id BIGINT NOT NULL,
    answer_case_id BIGINT NOT NULL,
    member_id UUID NOT NULL,
    words TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_appeal PRIMARY KEY (id),
    CONSTRAINT fk_appeal_organisation_id FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_appeal_case_id FOREIGN KEY (case_id) REFERENCES review_case (id),
    CONSTRAINT fk_appeal_answer_case_id FOREIGN KEY (answer_case_id) REFERENCES review_case (id),
    CONSTRAINT fk_appeal_member_id FOREIGN KEY (member_id) REFERENCES member (id),
    CONSTRAINT uq_appeal_case_id UNIQUE (case_id),
    CONSTRAINT uq_appeal_answer_case_id UNIQUE (answer_case_id)
);
CREATE INDEX ix_appeal_organisation_id_at ON appeal (organisation_id, at);

CREATE TABLE report (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    case_id BIGINT NOT NULL,
    source TEXT NOT NULL,
    receipt TEXT NOT NULL,
    reporter_id UUID,
    category TEXT NOT NULL,
    statement TEXT NOT NULL,
    name TEXT NOT NULL,
    contact TEXT NOT NULL,
    link TEXT NOT NULL,
    sha256 TEXT,
    pdq BYTEA,
    picture_id UUID,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_report PRIMARY KEY (id),
    CONSTRAINT ck_report_source CHECK (source IN ('member', 'public')),
    CONSTRAINT ck_report_reporter CHECK ((source = 'member') = (reporter_id IS NOT NULL)),
    CONSTRAINT ck_report_pdq CHECK (octet_length(pdq) = 32),
    CONSTRAINT fk_report_organisation_id FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_report_case_id FOREIGN KEY (case_id) REFERENCES review_case (id),
    CONSTRAINT fk_report_reporter_id FOREIGN KEY (reporter_id) REFERENCES member (id),
    CONSTRAINT uq_report_case_id UNIQUE (case_id),
    CONSTRAINT uq_report_receipt UNIQUE (receipt)
);
CREATE INDEX ix_report_organisation_id_at ON report (organisation_id, at);
CREATE INDEX ix_report_at ON report (at);

CREATE TABLE evidence_lock (
    generation_id UUID NOT NULL,
    picture_index BIGINT NOT NULL,
    organisation_id UUID NOT NULL,
    case_id BIGINT NOT NULL,
    locked_at TIMESTAMPTZ NOT NULL,
    keep_until TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_evidence_lock PRIMARY KEY (generation_id, picture_index),
    CONSTRAINT ck_evidence_lock_kept CHECK (keep_until > locked_at),
    CONSTRAINT fk_evidence_lock_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_evidence_lock_case_id FOREIGN KEY (case_id) REFERENCES review_case (id)
);

CREATE TABLE evidence_step (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    case_id BIGINT NOT NULL,
    step TEXT NOT NULL,
    member_id UUID NOT NULL,
    note TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_evidence_step PRIMARY KEY (id),
    CONSTRAINT uq_evidence_step_case_id_step UNIQUE (case_id, step),
    CONSTRAINT fk_evidence_step_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_evidence_step_case_id FOREIGN KEY (case_id) REFERENCES review_case (id),
    CONSTRAINT fk_evidence_step_member_id FOREIGN KEY (member_id) REFERENCES member (id)
);

CREATE TABLE review_grant (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    member_id UUID NOT NULL,
    given_by UUID,
    given_by_name TEXT NOT NULL,
    is_given BOOLEAN NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_review_grant PRIMARY KEY (id),
    CONSTRAINT ck_review_grant_reason CHECK (char_length(reason) BETWEEN 3 AND 300),
    CONSTRAINT fk_review_grant_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_review_grant_member_id FOREIGN KEY (member_id) REFERENCES member (id),
    CONSTRAINT fk_review_grant_given_by FOREIGN KEY (given_by) REFERENCES member (id)
);
CREATE INDEX ix_review_grant_member_id ON review_grant (member_id, id);

CREATE TABLE fingerprint (
    picture_id UUID NOT NULL,
    pdq BIT(256),
    made_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_fingerprint PRIMARY KEY (picture_id),
    CONSTRAINT fk_fingerprint_picture_id
        FOREIGN KEY (picture_id) REFERENCES picture (id) ON DELETE CASCADE
);
CREATE INDEX ix_picture_sha256 ON picture (sha256);
CREATE INDEX ix_verdict_strikes ON verdict (member_id, at) WHERE action = 'block';
"""

# What was refused before there were cases is history, and what was to be looked at still is.
EARLIER = """
INSERT INTO review_case (organisation_id, kind, priority, category, member_id, verdict_id,
                         generation_id, picture_index, opened_at)
SELECT organisation_id, CASE subject WHEN 'image' THEN 'picture' ELSE 'prompt' END, 2, category,
       member_id, id, generation_id, picture_index, at
  FROM verdict WHERE action <> 'allow' ORDER BY id;
"""

# The lock is the database's: no verb of today or tomorrow deletes evidence by mistake.
GUARDS = """
CREATE FUNCTION keep_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM evidence_lock
                WHERE generation_id = OLD.generation_id AND picture_index = OLD.index
                  AND keep_until > now())
       AND (TG_OP = 'DELETE'
            OR (OLD.key, OLD.thumbnail_key, OLD.sha256) IS DISTINCT FROM
               (NEW.key, NEW.thumbnail_key, NEW.sha256)
            OR NOT NEW.refused) THEN
        RAISE EXCEPTION 'picture % is locked evidence', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER keep_evidence BEFORE DELETE OR UPDATE ON picture
    FOR EACH ROW EXECUTE FUNCTION keep_evidence();

CREATE FUNCTION keep_evidence_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.request IS DISTINCT FROM NEW.request
       AND EXISTS (SELECT 1 FROM evidence_lock
                    WHERE generation_id = OLD.id AND keep_until > now()) THEN
        RAISE EXCEPTION 'generation % is locked evidence', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_evidence_request BEFORE UPDATE OF request ON generation
    FOR EACH ROW EXECUTE FUNCTION keep_evidence_request();

CREATE FUNCTION keep_evidence_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.keep_until < OLD.keep_until
       OR (OLD.generation_id, OLD.picture_index, OLD.organisation_id, OLD.case_id, OLD.locked_at)
          IS DISTINCT FROM
          (NEW.generation_id, NEW.picture_index, NEW.organisation_id, NEW.case_id, NEW.locked_at)
       THEN
        RAISE EXCEPTION 'an evidence lock is never taken off or shortened'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_evidence_lock BEFORE DELETE OR UPDATE ON evidence_lock
    FOR EACH ROW EXECUTE FUNCTION keep_evidence_lock();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON evidence_lock
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

LOGS = ("decision", "look", "appeal", "report", "evidence_step", "review_grant")


def upgrade() -> None:
    """Cases for every refusal, and what people say about them: rows that nobody rewrites."""
    op.execute(TABLES)
    op.execute(EARLIER)
    op.execute(GUARDS)
    for log in LOGS:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {log}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change();"
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {log}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
        )


def downgrade() -> None:
    """Take the cases back; the verdicts they came from stay."""
    op.execute(
        """
        DROP TRIGGER keep_evidence ON picture;
        DROP TRIGGER keep_evidence_request ON generation;
        DROP INDEX ix_verdict_strikes;
        DROP INDEX ix_picture_sha256;
        DROP TABLE fingerprint, review_grant, evidence_step, evidence_lock, report, appeal, look,
            decision, review_case;
        DROP FUNCTION keep_evidence, keep_evidence_request, keep_evidence_lock;
        """
    )
