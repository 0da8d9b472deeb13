"""The log that cannot be bent unseen, links and checkpoints; and which filters workers have."""

from alembic import op

revision = "0015_chain"
down_revision = "0014_cases"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE chain_pending (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    chain_id UUID NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    CONSTRAINT pk_chain_pending PRIMARY KEY (id)
);
CREATE INDEX ix_chain_pending_chain_id_id ON chain_pending (chain_id, id);

CREATE TABLE chain_link (
    chain_id UUID NOT NULL,
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    layout BIGINT NOT NULL,
    fields_hash BYTEA NOT NULL,
    words_hash BYTEA,
    salt BYTEA,
    sealed_at TIMESTAMPTZ NOT NULL,
    previous BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    CONSTRAINT pk_chain_link PRIMARY KEY (chain_id, number),
    CONSTRAINT ck_chain_link_number CHECK (number >= 1),
    CONSTRAINT ck_chain_link_digest CHECK (octet_length(digest) = 32),
    CONSTRAINT ck_chain_link_previous CHECK (octet_length(previous) = 32),
    CONSTRAINT ck_chain_link_salt CHECK (salt IS NULL OR words_hash IS NOT NULL),
    CONSTRAINT uq_chain_link_kind_key UNIQUE (kind, key)
);

CREATE TABLE chain_checkpoint (
    chain_id UUID NOT NULL,
    number BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    made_at TIMESTAMPTZ NOT NULL,
    public_key BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    CONSTRAINT pk_chain_checkpoint PRIMARY KEY (chain_id, number)
);
"""

# A name in chain_pending commits or rolls back with its row: one that is late turns up late.
GUARDS = """
CREATE FUNCTION chain_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_NARGS > 0 THEN
        INSERT INTO chain_pending (chain_id, kind, key)
        VALUES ('00000000-0000-0000-0000-000000000000', TG_TABLE_NAME, NEW.id::text);
    ELSE
        INSERT INTO chain_pending (chain_id, kind, key)
        VALUES (NEW.organisation_id, TG_TABLE_NAME, NEW.id::text);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION keep_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.salt IS NOT NULL OR to_jsonb(NEW) - 'salt' IS DISTINCT FROM to_jsonb(OLD) - 'salt' THEN
        RAISE EXCEPTION 'table chain_link is append-only: write a new row'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_link BEFORE UPDATE ON chain_link
    FOR EACH ROW EXECUTE FUNCTION keep_link();
CREATE TRIGGER no_delete BEFORE DELETE ON chain_link
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON chain_checkpoint
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION keep_but_erase() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    word TEXT;
BEGIN
    IF TG_OP = 'DELETE' OR to_jsonb(NEW) - TG_ARGV IS DISTINCT FROM to_jsonb(OLD) - TG_ARGV THEN
        RAISE EXCEPTION 'table % is append-only: write a new row', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    FOREACH word IN ARRAY TG_ARGV LOOP
        IF to_jsonb(NEW) ->> word <> '' THEN
            RAISE EXCEPTION 'table % is append-only: write a new row', TG_TABLE_NAME
                USING ERRCODE = 'restrict_violation';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;
"""

OF_ORGANISATIONS = (
    "verdict",
    "decision",
    "look",
    "appeal",
    "report",
    "evidence_step",
    "review_grant",
    "policy_setting",
    "seat_change",
    "wallet_change",
)
OF_THE_STUDIO = ("price_version", "model_switch", "attestation")
# The words of these tables go when a person is forgotten; nothing else of a row ever changes.
ERASABLE = {
    "verdict": ("excerpt",),
    "appeal": ("words",),
    "report": ("statement", "name", "contact", "link"),
}
STUDIO = "00000000-0000-0000-0000-000000000000"


def upgrade() -> None:
    """Chain what is written from now on, and what was written before in the order of its tables."""
    op.execute(TABLES)
    op.execute(GUARDS)
    for table in ("chain_link", "chain_checkpoint"):
        op.execute(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    for table in OF_ORGANISATIONS:
        _chain(table, chain="organisation_id")
    _chain("transfer", chain="organisation_id", only="kind <> 'settle'")
    for table in OF_THE_STUDIO:
        _chain(table, chain=f"'{STUDIO}'", argument="'studio'")
    for table, words in ERASABLE.items():
        named = ", ".join(f"'{word}'" for word in words)
        op.execute(f"DROP TRIGGER append_only ON {table}")
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION keep_but_erase({named})"
        )
    op.execute("ALTER TABLE worker_presence ADD COLUMN filters JSONB NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    """Forget the chain; the rows that it linked stay as they are."""
    op.execute("ALTER TABLE worker_presence DROP COLUMN filters")
    for table in ERASABLE:
        op.execute(f"DROP TRIGGER append_only ON {table}")
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in (*OF_ORGANISATIONS, "transfer", *OF_THE_STUDIO):
        op.execute(f"DROP TRIGGER chain_row ON {table}")
    op.execute("DROP TABLE chain_checkpoint, chain_link, chain_pending")
    op.execute("DROP FUNCTION chain_row, keep_link, keep_but_erase")


def _chain(table: str, *, chain: str, only: str = "", argument: str = "") -> None:
    is_chained = f"WHEN (NEW.{only})" if only else ""
    op.execute(
        f"CREATE TRIGGER chain_row AFTER INSERT ON {table}"
        f" FOR EACH ROW {is_chained} EXECUTE FUNCTION chain_row({argument})"
    )
    chosen = f"WHERE {only}" if only else ""
    op.execute(
        "INSERT INTO chain_pending (chain_id, kind, key)"
        f" SELECT {chain}, '{table}', id::text FROM {table} {chosen} ORDER BY id"
    )
