"""Tiers, teams, domains, attestations and models that were switched off.

Revision ID: 0008_licence
Revises: 0007_payments
"""

from alembic import op

revision = "0008_licence"
down_revision = "0007_payments"
branch_labels = None
depends_on = None

APPEND_ONLY = ("attestation", "model_switch", "organisation_document", "document_acceptance")


def upgrade() -> None:
    """Make the tables, and let members and invites name a team."""
    op.execute(TABLES)
    op.execute(COLUMNS)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Forget teams, domains, documents and the licence's records."""
    op.execute("ALTER TABLE invite DROP COLUMN team_id")
    op.execute("ALTER TABLE member DROP COLUMN team_id, DROP COLUMN seat_asked_at")
    for table in (
        "document_acceptance",
        "organisation_document",
        "model_switch",
        "attestation",
        "seat_day",
        "domain",
        "team_member",
        "team",
    ):
        op.execute(f"DROP TABLE {table}")


TABLES = """
CREATE TABLE team (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    cost_centre TEXT,
    external_id TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    archived_at TIMESTAMPTZ,
    CONSTRAINT pk_team PRIMARY KEY (id),
    CONSTRAINT uq_team_id_organisation_id UNIQUE (id, organisation_id),
    CONSTRAINT fk_team_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);
CREATE UNIQUE INDEX ix_team_organisation_id_name_key
    ON team (organisation_id, name_key) WHERE archived_at IS NULL;
CREATE UNIQUE INDEX ix_team_organisation_id_external_id
    ON team (organisation_id, external_id) WHERE archived_at IS NULL;

CREATE TABLE team_member (
    team_id UUID NOT NULL,
    member_id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    added_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_team_member PRIMARY KEY (team_id, member_id),
    CONSTRAINT fk_team_member_team_id_organisation_id
        FOREIGN KEY (team_id, organisation_id) REFERENCES team (id, organisation_id),
    CONSTRAINT fk_team_member_member_id_organisation_id
        FOREIGN KEY (member_id, organisation_id) REFERENCES member (id, organisation_id)
);
CREATE INDEX ix_team_member_member_id ON team_member (member_id);

CREATE TABLE domain (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    domain TEXT NOT NULL,
    token TEXT NOT NULL,
    seat_policy TEXT NOT NULL,
    required_issuer TEXT,
    created_by UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    checked_at TIMESTAMPTZ,
    verified_at TIMESTAMPTZ,
    CONSTRAINT pk_domain PRIMARY KEY (id),
    CONSTRAINT uq_domain_organisation_id_domain UNIQUE (organisation_id, domain),
    CONSTRAINT ck_domain_seat_policy CHECK (seat_policy IN ('seat', 'no_seat', 'ask')),
    CONSTRAINT fk_domain_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_domain_created_by FOREIGN KEY (created_by) REFERENCES member (id)
);
CREATE UNIQUE INDEX ix_domain_domain ON domain (domain) WHERE verified_at IS NOT NULL;

CREATE TABLE seat_day (
    organisation_id UUID NOT NULL,
    day DATE NOT NULL,
    high_water BIGINT NOT NULL,
    CONSTRAINT pk_seat_day PRIMARY KEY (organisation_id, day),
    CONSTRAINT ck_seat_day_high_water CHECK (high_water >= 0),
    CONSTRAINT fk_seat_day_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);

CREATE TABLE attestation (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    licence TEXT NOT NULL,
    licence_version TEXT NOT NULL,
    statement_sha256 TEXT NOT NULL,
    reference TEXT NOT NULL,
    given_by TEXT NOT NULL,
    author_id UUID,
    given_at TIMESTAMPTZ NOT NULL,
    valid_until TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_attestation PRIMARY KEY (id),
    CONSTRAINT ck_attestation_kind
        CHECK (kind IN ('below_threshold', 'enterprise_licence', 'demonstration', 'withdrawn')),
    CONSTRAINT fk_attestation_author_id FOREIGN KEY (author_id) REFERENCES member (id)
);
CREATE INDEX ix_attestation_licence_id ON attestation (licence, id);

CREATE TABLE model_switch (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    model_id TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    given_by TEXT NOT NULL,
    author_id UUID,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_model_switch PRIMARY KEY (id),
    CONSTRAINT ck_model_switch_action CHECK (action IN ('revoked', 'restored', 'deleted')),
    CONSTRAINT fk_model_switch_author_id FOREIGN KEY (author_id) REFERENCES member (id)
);
CREATE INDEX ix_model_switch_model_id_id ON model_switch (model_id, id);

CREATE TABLE organisation_document (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    audience TEXT NOT NULL,
    given_by TEXT NOT NULL,
    author_id UUID,
    created_at TIMESTAMPTZ NOT NULL,
    effective_at TIMESTAMPTZ NOT NULL,
    accept_by TIMESTAMPTZ,
    CONSTRAINT pk_organisation_document PRIMARY KEY (id),
    CONSTRAINT uq_organisation_document_organisation_id_kind_version
        UNIQUE (organisation_id, kind, version),
    CONSTRAINT ck_organisation_document_kind CHECK (kind IN ('dpa', 'sla', 'custom-terms')),
    CONSTRAINT ck_organisation_document_audience
        CHECK (audience IN ('owner', 'members', 'withdrawn')),
    CONSTRAINT fk_organisation_document_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_organisation_document_author_id
        FOREIGN KEY (author_id) REFERENCES member (id)
);

CREATE TABLE document_acceptance (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    document_id UUID NOT NULL,
    member_id UUID NOT NULL,
    text_sha256 TEXT NOT NULL,
    accepted_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_document_acceptance PRIMARY KEY (id),
    CONSTRAINT uq_document_acceptance_document_id_member_id UNIQUE (document_id, member_id),
    CONSTRAINT fk_document_acceptance_document_id
        FOREIGN KEY (document_id) REFERENCES organisation_document (id),
    CONSTRAINT fk_document_acceptance_member_id FOREIGN KEY (member_id) REFERENCES member (id)
);
"""

# The new columns are NULL everywhere, so that the checks of the keys read no row twice.
COLUMNS = """
ALTER TABLE member
    ADD COLUMN team_id UUID,
    ADD COLUMN seat_asked_at TIMESTAMPTZ,
    ADD CONSTRAINT fk_member_team_id_organisation_id
        FOREIGN KEY (team_id, organisation_id) REFERENCES team (id, organisation_id);
ALTER TABLE invite
    ADD COLUMN team_id UUID,
    ADD CONSTRAINT fk_invite_team_id_organisation_id
        FOREIGN KEY (team_id, organisation_id) REFERENCES team (id, organisation_id);
"""
