"""A hold as one call of the database, refunds that come back into their lots, causes of a freeze.

`place_hold` keeps the plans of its statements, so that a hold can travel in one message with its
COMMIT at little cost. Going down is possible as long as no refund came back so.
"""

from alembic import op

revision = "0016_money"
down_revision = "0015_chain"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(HOLD)
    op.execute(TRANSFERS)
    op.execute(FREEZES)
    op.execute(PACE)
    op.execute(CLOCK)
    op.execute(SEAT_BILLS)
    op.execute(REMINDERS)


def downgrade() -> None:
    op.execute(REFUSE_IF_NEEDED)
    op.execute(DOWN)


# Whoever wants the same wallet waits in a queue, in the order of coming, before the row's own lock:
# that one goes to whoever is awake when it is freed, and on a busy machine some were passed over
# for a second. 1011 is the class of these locks (1010 is that of sealing a month).
HOLD = """
CREATE FUNCTION place_hold(
    hold_id UUID, organisation UUID, member UUID, generation UUID, amount BIGINT, version TEXT,
    lifetime INTERVAL, must BOOLEAN
) RETURNS SETOF hold LANGUAGE plpgsql AS $$
DECLARE
    wallet UUID;
BEGIN
    PERFORM pg_advisory_xact_lock(1011, hashtext(organisation::text));
    UPDATE account SET held_micros = held_micros + amount
     WHERE organisation_id = organisation AND kind = 'wallet' AND frozen_reason IS NULL
       AND settled_micros - held_micros + credit_limit_micros >= amount
    RETURNING id INTO wallet;
    IF NOT FOUND THEN
        IF must THEN
            RAISE EXCEPTION 'the wallet does not cover this hold'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_hold_covered', TABLE = 'hold';
        END IF;
        RETURN;
    END IF;
    RETURN QUERY
    INSERT INTO hold (id, organisation_id, account_id, member_id, generation_id, amount_micros,
                      price_version, state, created_at, expires_at)
    VALUES (hold_id, organisation, wallet, member, generation, amount, version, 'held',
            statement_timestamp(), statement_timestamp() + lifetime)
    RETURNING *;
END $$;
"""

TRANSFERS = """
ALTER TABLE transfer
    DROP CONSTRAINT ck_transfer_kind,
    DROP CONSTRAINT ck_transfer_return_names_origin,
    ADD CONSTRAINT ck_transfer_kind
        CHECK (kind IN ('top_up', 'grant', 'adjust', 'settle', 'refund_top_up',
                        'refund_generation', 'chargeback', 'expire', 'return_refund')),
    ADD CONSTRAINT ck_transfer_return_names_origin
        CHECK ((kind IN ('refund_top_up', 'refund_generation', 'chargeback', 'expire',
                         'return_refund')) = (origin_id IS NOT NULL));
"""

# Until now a wallet had one reason, which only the operator's word was sure to lift: it stays so.
FREEZES = """
ALTER TABLE wallet_change ADD COLUMN cause TEXT;
ALTER TABLE wallet_change DISABLE TRIGGER append_only;
UPDATE wallet_change SET cause = 'operator' WHERE kind <> 'credit_limit';
ALTER TABLE wallet_change ENABLE TRIGGER append_only;
ALTER TABLE wallet_change
    ADD CONSTRAINT ck_wallet_change_names_cause
        CHECK ((kind = 'credit_limit') = (cause IS NULL)),
    ADD CONSTRAINT ck_wallet_change_cause
        CHECK (cause IN ('operator', 'dispute_lost', 'dispute', 'overdue'));
"""

PACE = """
CREATE UNLOGGED TABLE api_pace (
    key_id UUID NOT NULL,
    minute TIMESTAMPTZ NOT NULL,
    sent BIGINT NOT NULL,
    CONSTRAINT pk_api_pace PRIMARY KEY (key_id),
    CONSTRAINT fk_api_pace_key_id FOREIGN KEY (key_id) REFERENCES api_key (id)
);
"""

CLOCK = """
CREATE TABLE bill_clock (
    id BIGINT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_bill_clock PRIMARY KEY (id),
    CONSTRAINT ck_bill_clock_one CHECK (id = 1)
);
"""

# A bill for seats belongs to the month in which it was made out, or to the open one if that month
# was sealed before we heard of it; the lock is that of lines and transfers.
SEAT_BILLS = """
ALTER TABLE payment_invoice ADD COLUMN billed_at TIMESTAMPTZ;
UPDATE payment_invoice SET billed_at = created_at
 WHERE kind = 'seats' AND state IN ('open', 'paid');
ALTER TABLE payment_invoice ADD CONSTRAINT ck_payment_invoice_billed_at
    CHECK (kind <> 'seats' OR state NOT IN ('open', 'paid') OR billed_at IS NOT NULL);

CREATE FUNCTION bill_seats_in_open_month() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE sealed TIMESTAMPTZ;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1010, hashtext(NEW.organisation_id::text));
    SELECT ends_at INTO sealed FROM bill_month
     WHERE organisation_id = NEW.organisation_id ORDER BY starts_on DESC LIMIT 1;
    NEW.billed_at := greatest(NEW.created_at, sealed);
    RETURN NEW;
END $$;
CREATE TRIGGER bill_in_open_month BEFORE INSERT OR UPDATE ON payment_invoice FOR EACH ROW
    WHEN (NEW.kind = 'seats' AND NEW.state IN ('open', 'paid') AND NEW.billed_at IS NULL)
    EXECUTE FUNCTION bill_seats_in_open_month();
"""

REMINDERS = """
CREATE TABLE attestation_reminder (
    attestation_id BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_attestation_reminder PRIMARY KEY (attestation_id)
);
ALTER TABLE domain ADD COLUMN missing_since TIMESTAMPTZ;
"""

REFUSE_IF_NEEDED = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM transfer WHERE kind = 'return_refund') THEN
        RAISE EXCEPTION 'refunds came back into their lots, which the older ledger does not know';
    END IF;
END $$;
"""

DOWN = """
DROP FUNCTION place_hold;
DROP TABLE attestation_reminder;
ALTER TABLE domain DROP COLUMN missing_since;
DROP TABLE bill_clock;
DROP TRIGGER bill_in_open_month ON payment_invoice;
DROP FUNCTION bill_seats_in_open_month();
ALTER TABLE payment_invoice DROP COLUMN billed_at;
DROP TABLE api_pace;
ALTER TABLE wallet_change DROP COLUMN cause;
ALTER TABLE transfer
    DROP CONSTRAINT ck_transfer_kind,
    DROP CONSTRAINT ck_transfer_return_names_origin,
    ADD CONSTRAINT ck_transfer_kind
        CHECK (kind IN ('top_up', 'grant', 'adjust', 'settle', 'refund_top_up',
                        'refund_generation', 'chargeback', 'expire')),
    ADD CONSTRAINT ck_transfer_return_names_origin
        CHECK ((kind IN ('refund_top_up', 'refund_generation', 'chargeback', 'expire'))
               = (origin_id IS NOT NULL));
"""
