"""Usage lines with all that a bill groups by, their sums by day, and closed months with files.

The guards keep three promises, whoever writes: nothing is dated into a sealed month (it moves to
the first moment of the open one), the sums by day are those of the lines, and a closed month and
its files never change. Going down is possible as long as no month was closed and no line corrected.
"""

from alembic import op

revision = "0010_bills"
down_revision = "0009_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(LINES)
    op.execute(SUMS)
    op.execute(SUMS_SO_FAR)
    op.execute(MONTHS)
    op.execute(GUARDS)


def downgrade() -> None:
    op.execute(REFUSE_IF_NEEDED)
    op.execute(DOWN)


LINES = """
ALTER TABLE usage_line
    ADD COLUMN kind TEXT NOT NULL DEFAULT 'usage',
    ADD COLUMN corrects_id BIGINT,
    ADD COLUMN reason TEXT,
    ADD COLUMN author_id UUID,
    ADD COLUMN transfer_id BIGINT,
    ADD COLUMN price_class TEXT,
    ADD COLUMN unit_price_micros BIGINT,
    ADD COLUMN team_id UUID,
    ADD COLUMN team_name TEXT,
    ADD COLUMN cost_centre TEXT,
    ADD COLUMN project TEXT,
    ADD COLUMN api_key_id UUID,
    ADD COLUMN api_key_name TEXT,
    DROP CONSTRAINT ck_usage_line_amount,
    DROP CONSTRAINT uq_usage_line_generation_id,
    ADD CONSTRAINT ck_usage_line_kind CHECK (kind IN ('usage', 'correction')),
    ADD CONSTRAINT ck_usage_line_amount CHECK ((kind = 'correction') = (amount_micros < 0)),
    ADD CONSTRAINT ck_usage_line_correction
        CHECK ((kind = 'correction') = (corrects_id IS NOT NULL)
               AND (kind = 'correction') = (reason IS NOT NULL)),
    ADD CONSTRAINT ck_usage_line_unit_price CHECK (unit_price_micros >= 0),
    ADD CONSTRAINT fk_usage_line_corrects_id
        FOREIGN KEY (corrects_id) REFERENCES usage_line (id),
    ADD CONSTRAINT fk_usage_line_author_id FOREIGN KEY (author_id) REFERENCES member (id);
CREATE UNIQUE INDEX uq_usage_line_generation_id
    ON usage_line (generation_id) WHERE kind = 'usage';
CREATE INDEX ix_usage_line_corrects_id
    ON usage_line (corrects_id) WHERE corrects_id IS NOT NULL;
CREATE UNIQUE INDEX uq_usage_line_correction_transfer_id
    ON usage_line (transfer_id) WHERE kind = 'correction';
"""

SUMS = """
CREATE TABLE usage_day (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    day DATE NOT NULL,
    kind TEXT NOT NULL,
    member_id UUID NOT NULL,
    model TEXT NOT NULL,
    team_id UUID,
    project TEXT,
    cost_centre TEXT,
    api_key_id UUID,
    member_name TEXT NOT NULL,
    team_name TEXT,
    api_key_name TEXT,
    lines BIGINT NOT NULL,
    images BIGINT NOT NULL,
    amount_micros BIGINT NOT NULL,
    CONSTRAINT pk_usage_day PRIMARY KEY (id),
    CONSTRAINT uq_usage_day_key UNIQUE NULLS NOT DISTINCT
        (organisation_id, day, kind, member_id, model, team_id, project, cost_centre, api_key_id),
    CONSTRAINT fk_usage_day_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
) WITH (fillfactor = 50);

CREATE FUNCTION add_to_usage_day() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_day AS sums
           (organisation_id, day, kind, member_id, model, team_id, project, cost_centre,
            api_key_id, member_name, team_name, api_key_name, lines, images, amount_micros)
    SELECT organisation_id, (at AT TIME ZONE 'UTC')::date AS day, kind, member_id, model, team_id,
           project, cost_centre, api_key_id, max(member_name), max(team_name), max(api_key_name),
           count(*), sum(images), sum(amount_micros)
      FROM added
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
     ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ON CONFLICT ON CONSTRAINT uq_usage_day_key DO UPDATE
       SET member_name = EXCLUDED.member_name, team_name = EXCLUDED.team_name,
           api_key_name = EXCLUDED.api_key_name,
           lines = sums.lines + EXCLUDED.lines,
           images = sums.images + EXCLUDED.images,
           amount_micros = sums.amount_micros + EXCLUDED.amount_micros;
    RETURN NULL;
END $$;

CREATE TRIGGER add_to_usage_day AFTER INSERT ON usage_line
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION add_to_usage_day();
"""

SUMS_SO_FAR = """
INSERT INTO usage_day (organisation_id, day, kind, member_id, model, member_name,
                       lines, images, amount_micros)
SELECT organisation_id, (at AT TIME ZONE 'UTC')::date, 'usage', member_id, model, max(member_name),
       count(*), sum(images), sum(amount_micros)
  FROM usage_line
 GROUP BY 1, 2, 3, 4, 5
 ORDER BY 1, 2, 3, 4, 5
"""

MONTHS = """
CREATE TABLE bill_month (
    organisation_id UUID NOT NULL,
    starts_on DATE NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL,
    organisation_name TEXT NOT NULL,
    sealed_at TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ,
    lines BIGINT,
    generations BIGINT,
    images BIGINT,
    amount_micros BIGINT,
    opening_micros BIGINT,
    closing_micros BIGINT,
    movements JSONB,
    CONSTRAINT pk_bill_month PRIMARY KEY (organisation_id, starts_on),
    CONSTRAINT ck_bill_month_starts CHECK (date_trunc('month', starts_on) = starts_on),
    CONSTRAINT ck_bill_month_ended CHECK (sealed_at >= ends_at),
    CONSTRAINT ck_bill_month_closed
        CHECK (num_nulls(closed_at, lines, generations, images, amount_micros, opening_micros,
                         closing_micros, movements) IN (0, 8)),
    CONSTRAINT fk_bill_month_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);

CREATE TABLE bill_file (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    starts_on DATE NOT NULL,
    format TEXT NOT NULL,
    profile TEXT NOT NULL,
    rows BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    CONSTRAINT pk_bill_file PRIMARY KEY (id),
    CONSTRAINT uq_bill_file_organisation_id_starts_on_format
        UNIQUE (organisation_id, starts_on, format),
    CONSTRAINT fk_bill_file_organisation_id_starts_on
        FOREIGN KEY (organisation_id, starts_on)
        REFERENCES bill_month (organisation_id, starts_on)
);

CREATE TABLE bill_file_part (
    file_id UUID NOT NULL,
    number BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    content BYTEA NOT NULL,
    CONSTRAINT pk_bill_file_part PRIMARY KEY (file_id, number),
    CONSTRAINT fk_bill_file_part_file_id FOREIGN KEY (file_id)
        REFERENCES bill_file (id) DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE bill_file_part ALTER COLUMN content SET STORAGE EXTERNAL;
"""

# Whoever dates something shares a lock with its like; whoever seals a month waits for them all and
# then lets them see it. The settled transfers need no such date: a bill reads their lines.
GUARDS = """
CREATE FUNCTION bill_in_open_month() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE sealed TIMESTAMPTZ;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1010, hashtext(NEW.organisation_id::text));
    SELECT ends_at INTO sealed FROM bill_month
     WHERE organisation_id = NEW.organisation_id ORDER BY starts_on DESC LIMIT 1;
    IF NEW.at < sealed THEN
        NEW.at := sealed;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER bill_in_open_month BEFORE INSERT ON usage_line
    FOR EACH ROW EXECUTE FUNCTION bill_in_open_month();
CREATE TRIGGER bill_in_open_month BEFORE INSERT ON transfer
    FOR EACH ROW WHEN (NEW.kind <> 'settle') EXECUTE FUNCTION bill_in_open_month();

CREATE FUNCTION keep_bill_month() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a month is closed once and never reopened'
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER keep_bill_month BEFORE UPDATE ON bill_month FOR EACH ROW
    WHEN (OLD.closed_at IS NOT NULL
          OR (OLD.organisation_id, OLD.starts_on, OLD.ends_at, OLD.organisation_name, OLD.sealed_at)
             IS DISTINCT FROM
             (NEW.organisation_id, NEW.starts_on, NEW.ends_at, NEW.organisation_name,
              NEW.sealed_at))
    EXECUTE FUNCTION keep_bill_month();
CREATE TRIGGER no_delete BEFORE DELETE ON bill_month
    FOR EACH ROW EXECUTE FUNCTION keep_bill_month();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON bill_month
    FOR EACH STATEMENT EXECUTE FUNCTION keep_bill_month();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON bill_file
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON bill_file
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON bill_file_part
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON bill_file_part
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

REFUSE_IF_NEEDED = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM bill_month) OR EXISTS (SELECT FROM usage_line WHERE kind <> 'usage') THEN
        RAISE EXCEPTION 'months were closed or lines corrected: the older tables cannot hold '
            'these, and no bill is thrown away';
    END IF;
END $$;
"""

DOWN = """
DROP TRIGGER bill_in_open_month ON transfer;
DROP TRIGGER bill_in_open_month ON usage_line;
DROP TRIGGER add_to_usage_day ON usage_line;
DROP FUNCTION bill_in_open_month();
DROP FUNCTION add_to_usage_day();
DROP TABLE bill_file_part;
DROP TABLE bill_file;
DROP TABLE bill_month;
DROP FUNCTION keep_bill_month();
DROP TABLE usage_day;
DROP INDEX uq_usage_line_correction_transfer_id;
DROP INDEX ix_usage_line_corrects_id;
DROP INDEX uq_usage_line_generation_id;
ALTER TABLE usage_line
    DROP COLUMN corrects_id,
    DROP COLUMN reason,
    DROP COLUMN author_id,
    DROP COLUMN transfer_id,
    DROP COLUMN price_class,
    DROP COLUMN unit_price_micros,
    DROP COLUMN team_id,
    DROP COLUMN team_name,
    DROP COLUMN cost_centre,
    DROP COLUMN project,
    DROP COLUMN api_key_id,
    DROP COLUMN api_key_name,
    DROP CONSTRAINT ck_usage_line_amount,
    DROP CONSTRAINT ck_usage_line_kind,
    DROP COLUMN kind,
    ADD CONSTRAINT ck_usage_line_amount CHECK (amount_micros >= 0),
    ADD CONSTRAINT uq_usage_line_generation_id UNIQUE (generation_id);
"""
