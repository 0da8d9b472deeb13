"""The licensing floor: organisations, members, seats, money, agreements, usage and verdicts.

Plain SQL, because a migration is a record of what was done to databases and must not change when a
model class does. The triggers keep the logs append-only for every client, ours included.
"""

from alembic import op

revision = "0001_licensing"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("acceptance", "seat_change", "transfer", "usage_line", "verdict")


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GUARDS)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in (*APPEND_ONLY, "hold"):
        op.execute(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    for table in (
        "transfer",
        "verdict",
        "usage_line",
        "seat_change",
        "invite",
        "hold",
        "acceptance",
        "member",
        "account",
        "organisation",
    ):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION keep_hold()")
    op.execute("DROP FUNCTION refuse_change()")


TABLES = """
CREATE TABLE organisation (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    tier TEXT NOT NULL,
    seat_ceiling BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_organisation PRIMARY KEY (id),
    CONSTRAINT ck_organisation_ceiling CHECK (seat_ceiling >= 0)
);

CREATE TABLE account (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    settled_micros BIGINT NOT NULL,
    held_micros BIGINT NOT NULL,
    CONSTRAINT pk_account PRIMARY KEY (id),
    CONSTRAINT uq_account_organisation_id_kind UNIQUE (organisation_id, kind),
    CONSTRAINT ck_account_kind CHECK (kind IN ('cash', 'wallet', 'revenue')),
    CONSTRAINT ck_account_covered
        CHECK (held_micros >= 0 AND held_micros <= settled_micros),
    CONSTRAINT ck_account_only_wallets_cache
        CHECK (kind = 'wallet' OR (settled_micros = 0 AND held_micros = 0)),
    CONSTRAINT fk_account_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);

CREATE TABLE member (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    seated BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_member PRIMARY KEY (id),
    CONSTRAINT ck_member_role
        CHECK (role IN ('owner', 'admin', 'creator', 'finance', 'reviewer')),
    CONSTRAINT ck_member_status CHECK (status IN ('active', 'suspended', 'removed')),
    CONSTRAINT ck_member_removed_unseated CHECK (status <> 'removed' OR NOT seated),
    CONSTRAINT fk_member_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);
CREATE UNIQUE INDEX ix_member_issuer_subject
    ON member (issuer, subject) WHERE status <> 'removed';
CREATE INDEX ix_member_organisation_id ON member (organisation_id);

CREATE TABLE acceptance (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    member_id UUID NOT NULL,
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    accepted_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_acceptance PRIMARY KEY (id),
    CONSTRAINT uq_acceptance_member_id_kind_version_text_sha256
        UNIQUE (member_id, kind, version, text_sha256),
    CONSTRAINT fk_acceptance_member_id FOREIGN KEY (member_id) REFERENCES member (id)
);

CREATE TABLE hold (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    account_id UUID NOT NULL,
    member_id UUID NOT NULL,
    generation_id UUID NOT NULL,
    amount_micros BIGINT NOT NULL,
    price_version TEXT NOT NULL,
    state TEXT NOT NULL,
    settled_micros BIGINT,
    reason TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    resolved_at TIMESTAMPTZ,
    CONSTRAINT pk_hold PRIMARY KEY (id),
    CONSTRAINT ck_hold_amount CHECK (amount_micros > 0),
    CONSTRAINT ck_hold_state CHECK (state IN ('held', 'settled', 'released', 'expired')),
    CONSTRAINT ck_hold_resolved_at CHECK ((state = 'held') = (resolved_at IS NULL)),
    CONSTRAINT ck_hold_settled CHECK ((state = 'settled') = (settled_micros IS NOT NULL)),
    CONSTRAINT ck_hold_at_most_held CHECK (settled_micros BETWEEN 0 AND amount_micros),
    CONSTRAINT fk_hold_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_hold_account_id FOREIGN KEY (account_id) REFERENCES account (id),
    CONSTRAINT fk_hold_member_id FOREIGN KEY (member_id) REFERENCES member (id),
    CONSTRAINT uq_hold_generation_id UNIQUE (generation_id)
);
CREATE INDEX ix_hold_account_id ON hold (account_id) WHERE state = 'held';
CREATE INDEX ix_hold_expires_at ON hold (expires_at) WHERE state = 'held';

CREATE TABLE invite (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    seated BOOLEAN NOT NULL,
    token_sha256 TEXT NOT NULL,
    invited_by UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    accepted_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    CONSTRAINT pk_invite PRIMARY KEY (id),
    CONSTRAINT ck_invite_role
        CHECK (role IN ('owner', 'admin', 'creator', 'finance', 'reviewer')),
    CONSTRAINT ck_invite_one_end CHECK (accepted_at IS NULL OR revoked_at IS NULL),
    CONSTRAINT fk_invite_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT uq_invite_token_sha256 UNIQUE (token_sha256),
    CONSTRAINT fk_invite_invited_by FOREIGN KEY (invited_by) REFERENCES member (id)
);
CREATE INDEX ix_invite_email ON invite (email);
CREATE INDEX ix_invite_organisation_id ON invite (organisation_id);

CREATE TABLE seat_change (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    member_id UUID,
    actor_id UUID,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    seats_taken BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_seat_change PRIMARY KEY (id),
    CONSTRAINT fk_seat_change_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_seat_change_member_id FOREIGN KEY (member_id) REFERENCES member (id),
    CONSTRAINT fk_seat_change_actor_id FOREIGN KEY (actor_id) REFERENCES member (id)
);
CREATE INDEX ix_seat_change_organisation_id_id ON seat_change (organisation_id, id);

CREATE TABLE usage_line (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    generation_id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    member_id UUID NOT NULL,
    member_name TEXT NOT NULL,
    member_email TEXT NOT NULL,
    model TEXT NOT NULL,
    images BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    amount_micros BIGINT NOT NULL,
    price_version TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_usage_line PRIMARY KEY (id),
    CONSTRAINT ck_usage_line_counts CHECK (images >= 0 AND width > 0 AND height > 0),
    CONSTRAINT ck_usage_line_amount CHECK (amount_micros >= 0),
    CONSTRAINT uq_usage_line_generation_id UNIQUE (generation_id),
    CONSTRAINT fk_usage_line_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_usage_line_member_id FOREIGN KEY (member_id) REFERENCES member (id)
);
CREATE INDEX ix_usage_line_organisation_id_at ON usage_line (organisation_id, at, id);

CREATE TABLE verdict (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    member_id UUID NOT NULL,
    generation_id UUID,
    picture_index BIGINT,
    subject TEXT NOT NULL,
    action TEXT NOT NULL,
    category TEXT,
    score DOUBLE PRECISION,
    source TEXT NOT NULL,
    excerpt TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_verdict PRIMARY KEY (id),
    CONSTRAINT ck_verdict_subject CHECK (subject IN ('prompt', 'image')),
    CONSTRAINT ck_verdict_action CHECK (action IN ('allow', 'review', 'block')),
    CONSTRAINT ck_verdict_score CHECK (score BETWEEN 0 AND 1),
    CONSTRAINT fk_verdict_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_verdict_member_id FOREIGN KEY (member_id) REFERENCES member (id)
);
CREATE INDEX ix_verdict_generation_id ON verdict (generation_id);
CREATE INDEX ix_verdict_organisation_id_id ON verdict (organisation_id, id) WHERE action <> 'allow';

CREATE TABLE transfer (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    source_id UUID NOT NULL,
    destination_id UUID NOT NULL,
    amount_micros BIGINT NOT NULL,
    key TEXT NOT NULL,
    hold_id UUID,
    author_id UUID,
    note TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_transfer PRIMARY KEY (id),
    CONSTRAINT uq_transfer_organisation_id_key UNIQUE (organisation_id, key),
    CONSTRAINT ck_transfer_amount CHECK (amount_micros > 0),
    CONSTRAINT ck_transfer_two_accounts CHECK (source_id <> destination_id),
    CONSTRAINT ck_transfer_kind CHECK (kind IN ('top_up', 'settle')),
    CONSTRAINT ck_transfer_settle_names_hold
        CHECK ((kind = 'settle') = (hold_id IS NOT NULL)),
    CONSTRAINT fk_transfer_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_transfer_source_id FOREIGN KEY (source_id) REFERENCES account (id),
    CONSTRAINT fk_transfer_destination_id
        FOREIGN KEY (destination_id) REFERENCES account (id),
    CONSTRAINT uq_transfer_hold_id UNIQUE (hold_id),
    CONSTRAINT fk_transfer_hold_id FOREIGN KEY (hold_id) REFERENCES hold (id),
    CONSTRAINT fk_transfer_author_id FOREIGN KEY (author_id) REFERENCES member (id)
);
CREATE INDEX ix_transfer_organisation_id_id ON transfer (organisation_id, id);
"""

# A hold may be resolved once; what it was for, whose it was and how much never changes.
GUARDS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: write a new row', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION keep_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'held'
       OR (OLD.id, OLD.organisation_id, OLD.account_id, OLD.member_id, OLD.generation_id,
           OLD.amount_micros, OLD.price_version, OLD.created_at)
          IS DISTINCT FROM
          (NEW.id, NEW.organisation_id, NEW.account_id, NEW.member_id, NEW.generation_id,
           NEW.amount_micros, NEW.price_version, NEW.created_at) THEN
        RAISE EXCEPTION 'a hold is resolved once and never rewritten'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER keep_hold BEFORE UPDATE ON hold FOR EACH ROW EXECUTE FUNCTION keep_hold();
CREATE TRIGGER no_delete BEFORE DELETE ON hold FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""
