"""Price versions as rows, and budgets inside a shared balance.

The first price list is written out here, because a migration must not change when a file does. The
counters begin with what this month has used and what is held now, so that a budget set today counts
it.
"""

from alembic import op

revision = "0006_budgets"
down_revision = "0005_lots"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(PRICES)
    op.execute(FIRST_LIST)
    op.execute(BUDGETS)
    op.execute(GENERATION)
    op.execute(RESERVATIONS_SO_FAR)
    op.execute(COUNTERS_SO_FAR)


def downgrade() -> None:
    op.execute(
        """
        ALTER TABLE generation DROP COLUMN price_class, DROP COLUMN project,
                               DROP COLUMN team_id, DROP COLUMN api_key_id;
        DROP TABLE budget_reservation;
        DROP TABLE budget_counter;
        DROP TABLE budget;
        DROP TABLE price_version;
        """
    )


PRICES = """
CREATE TABLE price_version (
    id TEXT NOT NULL,
    effective_at TIMESTAMPTZ NOT NULL,
    list JSONB NOT NULL,
    note TEXT NOT NULL,
    author_id UUID,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_price_version PRIMARY KEY (id),
    CONSTRAINT uq_price_version_effective_at UNIQUE (effective_at),
    CONSTRAINT fk_price_version_author_id FOREIGN KEY (author_id) REFERENCES member (id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON price_version
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON price_version
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

FIRST_LIST = """
INSERT INTO price_version (id, effective_at, list, note, created_at)
VALUES ('2026-11', '2026-11-01T00:00:00Z',
        '{"per_image_micros": {"turbo": 15000, "turbo_style": 17500, "turbo_moodboard": 20000,
                               "raw": 30000, "raw_style": 35000, "raw_moodboard": 40000},
          "sizes": [{"name": "1K", "pixels_max": 1114112, "multiplier": 1},
                    {"name": "1.5K", "pixels_max": 2506752, "multiplier": 2},
                    {"name": "2K", "pixels_max": 4456448, "multiplier": 4}]}',
        'The first price list.', now())
"""

BUDGETS = """
CREATE TABLE budget (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    scope TEXT NOT NULL,
    subject_id UUID,
    period TEXT NOT NULL,
    limit_micros BIGINT NOT NULL,
    author_id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_budget PRIMARY KEY (id),
    CONSTRAINT uq_budget_organisation_id_scope_subject_id_period
        UNIQUE NULLS NOT DISTINCT (organisation_id, scope, subject_id, period),
    CONSTRAINT ck_budget_scope
        CHECK (scope IN ('organisation_default', 'member', 'team', 'api_key')),
    CONSTRAINT ck_budget_subject
        CHECK ((scope = 'organisation_default') = (subject_id IS NULL)),
    CONSTRAINT ck_budget_period CHECK (period IN ('day', 'month')),
    CONSTRAINT ck_budget_limit CHECK (limit_micros >= 0),
    CONSTRAINT fk_budget_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_budget_author_id FOREIGN KEY (author_id) REFERENCES member (id)
);

CREATE TABLE budget_counter (
    organisation_id UUID NOT NULL,
    scope TEXT NOT NULL,
    subject_id UUID NOT NULL,
    period TEXT NOT NULL,
    starts_on DATE NOT NULL,
    used_micros BIGINT NOT NULL,
    held_micros BIGINT NOT NULL,
    CONSTRAINT pk_budget_counter PRIMARY KEY (subject_id, scope, period, starts_on),
    CONSTRAINT ck_budget_counter_scope CHECK (scope IN ('member', 'team', 'api_key')),
    CONSTRAINT ck_budget_counter_period CHECK (period IN ('day', 'month')),
    CONSTRAINT ck_budget_counter_counted CHECK (used_micros >= 0 AND held_micros >= 0),
    CONSTRAINT fk_budget_counter_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
) WITH (fillfactor = 50);

CREATE TABLE budget_reservation (
    generation_id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    member_id UUID NOT NULL,
    team_id UUID,
    api_key_id UUID,
    amount_micros BIGINT NOT NULL,
    used_micros BIGINT,
    day DATE NOT NULL,
    reserved_at TIMESTAMPTZ NOT NULL,
    resolved_at TIMESTAMPTZ,
    CONSTRAINT pk_budget_reservation PRIMARY KEY (generation_id),
    CONSTRAINT ck_budget_reservation_amount CHECK (amount_micros > 0),
    CONSTRAINT ck_budget_reservation_used CHECK (used_micros BETWEEN 0 AND amount_micros),
    CONSTRAINT ck_budget_reservation_resolved
        CHECK ((resolved_at IS NULL) = (used_micros IS NULL)),
    CONSTRAINT fk_budget_reservation_member_id_organisation_id
        FOREIGN KEY (member_id, organisation_id) REFERENCES member (id, organisation_id)
);
CREATE INDEX ix_budget_reservation_open
    ON budget_reservation (reserved_at) WHERE resolved_at IS NULL;
"""

# No foreign keys here: teams and API keys come later in the chain.
GENERATION = """
ALTER TABLE generation ADD COLUMN price_class TEXT,
                       ADD COLUMN project TEXT,
                       ADD COLUMN team_id UUID,
                       ADD COLUMN api_key_id UUID,
                       ADD CONSTRAINT ck_generation_project
                           CHECK (char_length(project) BETWEEN 1 AND 64);
"""

RESERVATIONS_SO_FAR = """
INSERT INTO budget_reservation (generation_id, organisation_id, member_id, amount_micros,
                                used_micros, day, reserved_at, resolved_at)
SELECT generation_id, organisation_id, member_id, amount_micros,
       CASE WHEN state <> 'held' THEN coalesce(settled_micros, 0) END,
       (created_at AT TIME ZONE 'UTC')::date, created_at, resolved_at
  FROM hold
 WHERE state = 'held' OR created_at >= date_trunc('month', now(), 'UTC')
"""

COUNTERS_SO_FAR = """
INSERT INTO budget_counter (organisation_id, scope, subject_id, period, starts_on,
                            used_micros, held_micros)
SELECT organisation_id, 'member', member_id, period.name,
       CASE period.name WHEN 'day' THEN day ELSE date_trunc('month', day)::date END,
       coalesce(sum(used_micros), 0),
       coalesce(sum(amount_micros) FILTER (WHERE resolved_at IS NULL), 0)
  FROM budget_reservation CROSS JOIN (VALUES ('day'), ('month')) AS period (name)
 GROUP BY 1, 3, 4, 5
"""
