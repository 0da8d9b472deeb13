"""Money in lots: which top-up or grant paid for which picture; credit, freezing, refunds.

What was topped up before becomes paid lots, and what was charged before is replayed over them,
oldest first: both are laid end to end, and where a charge lies over a lot, that lot paid for it.
Going down is possible as long as no money was moved in a way that the older ledger does not know.
"""

from alembic import op

revision = "0005_lots"
down_revision = "0004_hold_member"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(ACCOUNTS)
    op.execute(HOLDS)
    op.execute(TRANSFERS)
    op.execute(LOTS)
    op.execute(LOTS_SO_FAR)
    op.execute(SPENDS_SO_FAR)
    op.execute(INDEXES)
    op.execute(GUARDS)


def downgrade() -> None:
    op.execute(REFUSE_IF_NEEDED)
    op.execute(DOWN)


ACCOUNTS = """
ALTER TABLE account DROP CONSTRAINT ck_account_kind;
ALTER TABLE account DROP CONSTRAINT ck_account_covered;
ALTER TABLE account DROP CONSTRAINT ck_account_only_wallets_cache;
ALTER TABLE account ADD COLUMN credit_limit_micros BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN frozen_reason TEXT;
ALTER TABLE account ADD CONSTRAINT uq_account_id_organisation_id UNIQUE (id, organisation_id);
ALTER TABLE account ADD CONSTRAINT ck_account_kind
    CHECK (kind IN ('cash', 'wallet', 'revenue', 'promotion', 'adjustment', 'breakage'));
ALTER TABLE account ADD CONSTRAINT ck_account_held CHECK (held_micros >= 0);
ALTER TABLE account ADD CONSTRAINT ck_account_credit_limit CHECK (credit_limit_micros >= 0);
ALTER TABLE account ADD CONSTRAINT ck_account_only_wallets_cache
    CHECK (kind = 'wallet' OR (settled_micros = 0 AND held_micros = 0
                               AND credit_limit_micros = 0 AND frozen_reason IS NULL));
INSERT INTO account (id, organisation_id, kind, settled_micros, held_micros)
SELECT gen_random_uuid(), wallet.organisation_id, added.kind, 0, 0
  FROM account AS wallet
 CROSS JOIN unnest(ARRAY['promotion', 'adjustment', 'breakage']) AS added (kind)
 WHERE wallet.kind = 'wallet';
"""

# What a busy wallet pays for with every hold: the member's key names the organisation already, and
# nobody looks for holds by their account.
HOLDS = """
ALTER TABLE hold DROP CONSTRAINT fk_hold_organisation_id;
DROP INDEX ix_hold_account_id;
"""

# An account is named together with its organisation, so that money stays inside one. A charge is
# found by its hold, so that only what is seldom is found by its key.
TRANSFERS = """
ALTER TABLE transfer DROP CONSTRAINT ck_transfer_kind;
ALTER TABLE transfer ADD COLUMN origin_id BIGINT;
ALTER TABLE transfer ADD CONSTRAINT ck_transfer_kind
    CHECK (kind IN ('top_up', 'grant', 'adjust', 'settle', 'refund_top_up', 'refund_generation',
                    'chargeback', 'expire'));
ALTER TABLE transfer ADD CONSTRAINT ck_transfer_return_names_origin
    CHECK ((kind IN ('refund_top_up', 'refund_generation', 'chargeback', 'expire'))
           = (origin_id IS NOT NULL));
ALTER TABLE transfer ADD CONSTRAINT fk_transfer_origin_id
    FOREIGN KEY (origin_id) REFERENCES transfer (id);
ALTER TABLE transfer DROP CONSTRAINT fk_transfer_organisation_id;
ALTER TABLE transfer DROP CONSTRAINT fk_transfer_source_id;
ALTER TABLE transfer DROP CONSTRAINT fk_transfer_destination_id;
ALTER TABLE transfer ADD CONSTRAINT fk_transfer_source_id_organisation_id
    FOREIGN KEY (source_id, organisation_id) REFERENCES account (id, organisation_id);
ALTER TABLE transfer ADD CONSTRAINT fk_transfer_destination_id_organisation_id
    FOREIGN KEY (destination_id, organisation_id) REFERENCES account (id, organisation_id);
ALTER TABLE transfer DROP CONSTRAINT uq_transfer_organisation_id_key;
CREATE UNIQUE INDEX uq_transfer_organisation_id_key
    ON transfer (organisation_id, key) WHERE kind <> 'settle';
CREATE INDEX ix_transfer_origin_id ON transfer (origin_id) WHERE origin_id IS NOT NULL;
CREATE INDEX ix_transfer_movements ON transfer (organisation_id, id) WHERE kind <> 'settle';
"""

LOTS = """
CREATE TABLE lot (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    amount_micros BIGINT NOT NULL,
    remaining_micros BIGINT NOT NULL,
    is_open BOOLEAN NOT NULL,
    expires_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    transfer_id BIGINT,
    CONSTRAINT pk_lot PRIMARY KEY (id),
    CONSTRAINT ck_lot_kind CHECK (kind IN ('promotional', 'paid', 'credit')),
    CONSTRAINT ck_lot_remaining CHECK (
        CASE WHEN kind = 'credit'
             THEN amount_micros = 0 AND remaining_micros <= 0 AND expires_at IS NULL
             ELSE amount_micros > 0 AND remaining_micros BETWEEN 0 AND amount_micros END),
    CONSTRAINT ck_lot_names_transfer CHECK ((kind = 'credit') = (transfer_id IS NULL)),
    CONSTRAINT ck_lot_is_open CHECK (is_open = (kind = 'credit' OR remaining_micros > 0)),
    CONSTRAINT fk_lot_organisation_id FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_lot_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfer (id),
    CONSTRAINT uq_lot_transfer_id UNIQUE (transfer_id)
) WITH (fillfactor = 50);

CREATE TABLE lot_spend (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    transfer_id BIGINT NOT NULL,
    lot_id UUID NOT NULL,
    amount_micros BIGINT NOT NULL
);

CREATE TABLE wallet_change (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    credit_limit_micros BIGINT,
    reason TEXT NOT NULL,
    author_id UUID,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_wallet_change PRIMARY KEY (id),
    CONSTRAINT ck_wallet_change_kind CHECK (kind IN ('freeze', 'unfreeze', 'credit_limit')),
    CONSTRAINT ck_wallet_change_names_limit
        CHECK ((kind = 'credit_limit') = (credit_limit_micros IS NOT NULL)),
    CONSTRAINT fk_wallet_change_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_wallet_change_author_id FOREIGN KEY (author_id) REFERENCES member (id)
);
CREATE INDEX ix_wallet_change_organisation_id_id ON wallet_change (organisation_id, id);
"""

LOTS_SO_FAR = """
INSERT INTO lot (id, organisation_id, kind, amount_micros, remaining_micros, is_open, created_at)
SELECT gen_random_uuid(), organisation_id, 'credit', 0, 0, true, now()
  FROM account WHERE kind = 'wallet';

INSERT INTO lot (id, organisation_id, kind, amount_micros, remaining_micros, is_open, created_at,
                 transfer_id)
SELECT gen_random_uuid(), organisation_id, 'paid', amount_micros, amount_micros - spent.micros,
       amount_micros > spent.micros, at, id
  FROM (
    SELECT top_up.*, sum(amount_micros) OVER (PARTITION BY organisation_id ORDER BY id)
                     - amount_micros AS before_micros
      FROM transfer AS top_up WHERE kind = 'top_up'
  ) AS top_up
  LEFT JOIN (
    SELECT organisation_id, sum(amount_micros) AS micros
      FROM transfer WHERE kind = 'settle' GROUP BY organisation_id
  ) AS charged USING (organisation_id)
 CROSS JOIN LATERAL (
    SELECT least(amount_micros, greatest(0, coalesce(charged.micros, 0) - before_micros))::bigint
           AS micros
  ) AS spent;
"""

# Every point where a top-up or a charge begins or ends, in order: between two of them one lot pays
# for one charge. Numbers of transfers grow along the line, so the latest one begun is the largest.
SPENDS_SO_FAR = """
INSERT INTO lot_spend (transfer_id, lot_id, amount_micros)
SELECT piece.settle_id, lot.id, piece.micros
  FROM (
    SELECT max(settle_id) OVER along AS settle_id, max(top_up_id) OVER along AS top_up_id,
           total_micros,
           position_micros,
           least(lead(position_micros) OVER (PARTITION BY organisation_id
                                             ORDER BY position_micros, settle_id, top_up_id),
                 total_micros) - position_micros AS micros
      FROM (
        SELECT organisation_id,
               sum(amount_micros) OVER line - amount_micros AS position_micros,
               CASE WHEN kind = 'settle' THEN id END AS settle_id,
               CASE WHEN kind = 'top_up' THEN id END AS top_up_id,
               coalesce(sum(amount_micros) FILTER (WHERE kind = 'settle')
                        OVER (PARTITION BY organisation_id), 0) AS total_micros
          FROM transfer WHERE kind IN ('settle', 'top_up')
        WINDOW line AS (PARTITION BY organisation_id, kind ORDER BY id)
        UNION ALL
        SELECT organisation_id, sum(amount_micros), NULL, NULL, sum(amount_micros)
          FROM transfer WHERE kind = 'settle' GROUP BY organisation_id
      ) AS point
    WINDOW along AS (PARTITION BY organisation_id
                     ORDER BY position_micros, settle_id, top_up_id
                     ROWS UNBOUNDED PRECEDING)
  ) AS piece
  JOIN lot ON lot.transfer_id = piece.top_up_id
 WHERE piece.micros > 0 AND piece.settle_id IS NOT NULL
 ORDER BY piece.settle_id, piece.top_up_id;
"""

# After the rows are in, so that they need not be maintained one by one.
INDEXES = """
CREATE INDEX ix_lot_organisation_id ON lot (organisation_id) WHERE is_open;
CREATE INDEX ix_lot_organisation_id_created_at_id ON lot (organisation_id, created_at, id);
CREATE INDEX ix_lot_expires_at ON lot (expires_at) WHERE is_open AND expires_at IS NOT NULL;
CREATE UNIQUE INDEX uq_lot_credit ON lot (organisation_id) WHERE kind = 'credit';
ALTER TABLE lot_spend ADD CONSTRAINT pk_lot_spend PRIMARY KEY (transfer_id, id);
ALTER TABLE lot_spend ADD CONSTRAINT ck_lot_spend_amount CHECK (amount_micros <> 0);
ALTER TABLE lot_spend ADD CONSTRAINT fk_lot_spend_transfer_id
    FOREIGN KEY (transfer_id) REFERENCES transfer (id);
ALTER TABLE lot_spend ADD CONSTRAINT fk_lot_spend_lot_id FOREIGN KEY (lot_id) REFERENCES lot (id);
"""

# Nobody may hold more than there is, whatever statement they write; the condition stands in WHEN,
# so that a sound update calls nothing. Of a lot only what remains of it changes.
GUARDS = """
CREATE FUNCTION refuse_uncovered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a hold must be covered by what is settled and the credit limit'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_account_covered', TABLE = 'account';
END $$;

CREATE TRIGGER covered BEFORE UPDATE OF held_micros ON account FOR EACH ROW
    WHEN (NEW.held_micros > OLD.held_micros
          AND NEW.held_micros > NEW.settled_micros + NEW.credit_limit_micros)
    EXECUTE FUNCTION refuse_uncovered();

CREATE FUNCTION keep_lot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'of a lot only what remains of it changes'
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER keep_lot BEFORE UPDATE ON lot FOR EACH ROW
    WHEN ((OLD.id, OLD.organisation_id, OLD.kind, OLD.amount_micros, OLD.expires_at,
           OLD.created_at, OLD.transfer_id)
          IS DISTINCT FROM
          (NEW.id, NEW.organisation_id, NEW.kind, NEW.amount_micros, NEW.expires_at,
           NEW.created_at, NEW.transfer_id))
    EXECUTE FUNCTION keep_lot();
CREATE TRIGGER no_delete BEFORE DELETE ON lot FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON lot
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON lot_spend
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON lot_spend
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON wallet_change
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON wallet_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

REFUSE_IF_NEEDED = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM transfer WHERE kind NOT IN ('top_up', 'settle'))
       OR EXISTS (SELECT FROM account WHERE held_micros > settled_micros) THEN
        RAISE EXCEPTION 'money was granted, refunded, adjusted or lent: the older ledger cannot '
            'hold these movements, and no row of money is thrown away';
    END IF;
END $$;
"""

DOWN = """
DROP TABLE wallet_change;
DROP TABLE lot_spend;
DROP TABLE lot;
DROP FUNCTION keep_lot();
DROP TRIGGER covered ON account;
DROP FUNCTION refuse_uncovered();

ALTER TABLE hold ADD CONSTRAINT fk_hold_organisation_id
    FOREIGN KEY (organisation_id) REFERENCES organisation (id);
CREATE INDEX ix_hold_account_id ON hold (account_id) WHERE state = 'held';

DROP INDEX uq_transfer_organisation_id_key;
ALTER TABLE transfer ADD CONSTRAINT uq_transfer_organisation_id_key UNIQUE (organisation_id, key);
ALTER TABLE transfer DROP CONSTRAINT fk_transfer_source_id_organisation_id;
ALTER TABLE transfer DROP CONSTRAINT fk_transfer_destination_id_organisation_id;
ALTER TABLE transfer ADD CONSTRAINT fk_transfer_organisation_id
    FOREIGN KEY (organisation_id) REFERENCES organisation (id);
ALTER TABLE transfer ADD CONSTRAINT fk_transfer_source_id
    FOREIGN KEY (source_id) REFERENCES account (id);
ALTER TABLE transfer ADD CONSTRAINT fk_transfer_destination_id
    FOREIGN KEY (destination_id) REFERENCES account (id);
DROP INDEX ix_transfer_movements;
DROP INDEX ix_transfer_origin_id;
ALTER TABLE transfer DROP CONSTRAINT ck_transfer_return_names_origin;
ALTER TABLE transfer DROP CONSTRAINT ck_transfer_kind;
ALTER TABLE transfer DROP COLUMN origin_id;
ALTER TABLE transfer ADD CONSTRAINT ck_transfer_kind CHECK (kind IN ('top_up', 'settle'));

DELETE FROM account WHERE kind IN ('promotion', 'adjustment', 'breakage');
ALTER TABLE account DROP CONSTRAINT ck_account_kind;
ALTER TABLE account DROP CONSTRAINT ck_account_held;
ALTER TABLE account DROP CONSTRAINT ck_account_credit_limit;
ALTER TABLE account DROP CONSTRAINT ck_account_only_wallets_cache;
ALTER TABLE account DROP CONSTRAINT uq_account_id_organisation_id;
ALTER TABLE account DROP COLUMN credit_limit_micros;
ALTER TABLE account DROP COLUMN frozen_reason;
ALTER TABLE account ADD CONSTRAINT ck_account_kind CHECK (kind IN ('cash', 'wallet', 'revenue'));
ALTER TABLE account ADD CONSTRAINT ck_account_covered
    CHECK (held_micros >= 0 AND held_micros <= settled_micros);
ALTER TABLE account ADD CONSTRAINT ck_account_only_wallets_cache
    CHECK (kind = 'wallet' OR (settled_micros = 0 AND held_micros = 0));
"""
