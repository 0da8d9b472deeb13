"""Payments: the provider's events, top-ups on their way, subscriptions and invoices.

Revision ID: 0007_payments
Revises: 0006_budgets
"""

from alembic import op

revision = "0007_payments"
down_revision = "0006_budgets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of payments; an event, once written, is never taken away."""
    op.execute(TABLES)
    op.execute(
        "CREATE TRIGGER no_delete BEFORE DELETE ON payment_event "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON payment_event "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Forget what payments stored; the transfers that they caused stay in the ledger."""
    for table in (
        "payment_invoice",
        "seat_subscription",
        "payment_notice",
        "balance_alert",
        "automatic_top_up",
        "payment_dispute",
        "payment_refund",
        "payment",
        "payment_card",
        "payment_customer",
        "payment_event",
    ):
        op.execute(f"DROP TABLE {table}")


TABLES = """
CREATE TABLE payment_event (
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    payload JSONB NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    attempts BIGINT NOT NULL,
    organisation_id UUID,
    received_at TIMESTAMPTZ NOT NULL,
    applied_at TIMESTAMPTZ,
    CONSTRAINT pk_payment_event PRIMARY KEY (id),
    CONSTRAINT ck_payment_event_status
        CHECK (status IN ('received', 'applied', 'ignored', 'failed')),
    CONSTRAINT ck_payment_event_attempts CHECK (attempts >= 0),
    CONSTRAINT ck_payment_event_applied_at
        CHECK ((status IN ('applied', 'ignored')) = (applied_at IS NOT NULL)),
    CONSTRAINT fk_payment_event_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);
CREATE INDEX ix_payment_event_created ON payment_event (created);
CREATE INDEX ix_payment_event_received_at
    ON payment_event (received_at) WHERE status IN ('received', 'failed');

CREATE TABLE payment_customer (
    organisation_id UUID NOT NULL,
    customer_id TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_payment_customer PRIMARY KEY (organisation_id),
    CONSTRAINT uq_payment_customer_customer_id UNIQUE (customer_id),
    CONSTRAINT fk_payment_customer_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);

CREATE TABLE payment_card (
    id TEXT NOT NULL,
    organisation_id UUID NOT NULL,
    brand TEXT NOT NULL,
    last4 TEXT NOT NULL,
    exp_month BIGINT NOT NULL,
    exp_year BIGINT NOT NULL,
    attached_at TIMESTAMPTZ NOT NULL,
    detached_at TIMESTAMPTZ,
    CONSTRAINT pk_payment_card PRIMARY KEY (id),
    CONSTRAINT fk_payment_card_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);
CREATE INDEX ix_payment_card_organisation_id ON payment_card (organisation_id);

CREATE TABLE payment (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    amount_micros BIGINT NOT NULL,
    state TEXT NOT NULL,
    author_id UUID,
    card_id TEXT,
    checkout_id TEXT,
    payment_intent_id TEXT,
    invoice_intent_id TEXT,
    receipt_url TEXT,
    failure TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL,
    resolved_at TIMESTAMPTZ,
    transfer_id BIGINT,
    CONSTRAINT pk_payment PRIMARY KEY (id),
    CONSTRAINT ck_payment_kind CHECK (kind IN ('checkout', 'automatic', 'invoice')),
    CONSTRAINT ck_payment_amount CHECK (amount_micros > 0),
    CONSTRAINT ck_payment_state CHECK (state IN ('started', 'paid', 'failed', 'expired')),
    CONSTRAINT ck_payment_resolved_at CHECK ((state = 'started') = (resolved_at IS NULL)),
    CONSTRAINT ck_payment_paid_moves CHECK ((state = 'paid') = (transfer_id IS NOT NULL)),
    CONSTRAINT uq_payment_checkout_id UNIQUE (checkout_id),
    CONSTRAINT uq_payment_payment_intent_id UNIQUE (payment_intent_id),
    CONSTRAINT uq_payment_invoice_intent_id UNIQUE (invoice_intent_id),
    CONSTRAINT uq_payment_transfer_id UNIQUE (transfer_id),
    CONSTRAINT fk_payment_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_payment_author_id FOREIGN KEY (author_id) REFERENCES member (id),
    CONSTRAINT fk_payment_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfer (id)
);
CREATE INDEX ix_payment_organisation_id_created_at ON payment (organisation_id, created_at);
CREATE INDEX ix_payment_started ON payment (created_at) WHERE state = 'started';
CREATE UNIQUE INDEX uq_payment_automatic_under_way
    ON payment (organisation_id) WHERE kind = 'automatic' AND state = 'started';

CREATE TABLE payment_refund (
    id UUID NOT NULL,
    payment_id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    amount_micros BIGINT NOT NULL,
    state TEXT NOT NULL,
    refund_id TEXT,
    author_id UUID,
    reason TEXT NOT NULL,
    failure TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL,
    resolved_at TIMESTAMPTZ,
    transfer_id BIGINT NOT NULL,
    returned_id BIGINT,
    CONSTRAINT pk_payment_refund PRIMARY KEY (id),
    CONSTRAINT ck_payment_refund_amount CHECK (amount_micros > 0),
    CONSTRAINT ck_payment_refund_state CHECK (state IN ('started', 'paid', 'failed')),
    CONSTRAINT ck_payment_refund_resolved_at CHECK ((state = 'started') = (resolved_at IS NULL)),
    CONSTRAINT ck_payment_refund_failed_returns
        CHECK ((state = 'failed') = (returned_id IS NOT NULL)),
    CONSTRAINT uq_payment_refund_refund_id UNIQUE (refund_id),
    CONSTRAINT uq_payment_refund_transfer_id UNIQUE (transfer_id),
    CONSTRAINT fk_payment_refund_payment_id FOREIGN KEY (payment_id) REFERENCES payment (id),
    CONSTRAINT fk_payment_refund_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_payment_refund_author_id FOREIGN KEY (author_id) REFERENCES member (id),
    CONSTRAINT fk_payment_refund_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfer (id),
    CONSTRAINT fk_payment_refund_returned_id FOREIGN KEY (returned_id) REFERENCES transfer (id)
);
CREATE INDEX ix_payment_refund_payment_id ON payment_refund (payment_id);
CREATE INDEX ix_payment_refund_started ON payment_refund (created_at) WHERE state = 'started';

CREATE TABLE payment_dispute (
    id TEXT NOT NULL,
    payment_id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    amount_micros BIGINT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL,
    opened_at TIMESTAMPTZ NOT NULL,
    evidence_due_at TIMESTAMPTZ,
    closed_at TIMESTAMPTZ,
    transfer_id BIGINT,
    CONSTRAINT pk_payment_dispute PRIMARY KEY (id),
    CONSTRAINT ck_payment_dispute_amount CHECK (amount_micros > 0),
    CONSTRAINT ck_payment_dispute_state CHECK (state IN ('inquiry', 'open', 'won', 'lost')),
    CONSTRAINT ck_payment_dispute_closed_at
        CHECK ((state IN ('won', 'lost')) = (closed_at IS NOT NULL)),
    CONSTRAINT ck_payment_dispute_lost_moves CHECK ((state = 'lost') = (transfer_id IS NOT NULL)),
    CONSTRAINT fk_payment_dispute_payment_id FOREIGN KEY (payment_id) REFERENCES payment (id),
    CONSTRAINT fk_payment_dispute_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_payment_dispute_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfer (id)
);
CREATE INDEX ix_payment_dispute_organisation_id ON payment_dispute (organisation_id);

CREATE TABLE automatic_top_up (
    organisation_id UUID NOT NULL,
    threshold_micros BIGINT NOT NULL,
    amount_micros BIGINT NOT NULL,
    monthly_ceiling_micros BIGINT NOT NULL,
    on_since TIMESTAMPTZ,
    off_reason TEXT,
    author_id UUID NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_automatic_top_up PRIMARY KEY (organisation_id),
    CONSTRAINT ck_automatic_top_up_threshold CHECK (threshold_micros >= 0),
    CONSTRAINT ck_automatic_top_up_amount CHECK (amount_micros > 0),
    CONSTRAINT ck_automatic_top_up_ceiling CHECK (monthly_ceiling_micros >= amount_micros),
    CONSTRAINT ck_automatic_top_up_off_reason CHECK ((on_since IS NULL) = (off_reason IS NOT NULL)),
    CONSTRAINT fk_automatic_top_up_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_automatic_top_up_author_id FOREIGN KEY (author_id) REFERENCES member (id)
);

CREATE TABLE balance_alert (
    organisation_id UUID NOT NULL,
    threshold_micros BIGINT NOT NULL,
    author_id UUID NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_balance_alert PRIMARY KEY (organisation_id),
    CONSTRAINT ck_balance_alert_threshold CHECK (threshold_micros > 0),
    CONSTRAINT fk_balance_alert_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_balance_alert_author_id FOREIGN KEY (author_id) REFERENCES member (id)
);

CREATE TABLE payment_notice (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    sentence TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    cleared_at TIMESTAMPTZ,
    mailed_at TIMESTAMPTZ,
    CONSTRAINT pk_payment_notice PRIMARY KEY (id),
    CONSTRAINT fk_payment_notice_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);
CREATE INDEX ix_payment_notice_mailed_at ON payment_notice (id) WHERE mailed_at IS NULL;
CREATE UNIQUE INDEX uq_payment_notice_open
    ON payment_notice (organisation_id, kind) WHERE cleared_at IS NULL;

CREATE TABLE seat_subscription (
    subscription_id TEXT NOT NULL,
    organisation_id UUID NOT NULL,
    item_id TEXT NOT NULL,
    price_id TEXT NOT NULL,
    tier TEXT NOT NULL,
    status TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    schedule_id TEXT,
    pending_quantity BIGINT,
    pending_at TIMESTAMPTZ,
    period_end TIMESTAMPTZ NOT NULL,
    is_ending BOOLEAN NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    needs_reading BOOLEAN NOT NULL,
    CONSTRAINT pk_seat_subscription PRIMARY KEY (subscription_id),
    CONSTRAINT ck_seat_subscription_quantity CHECK (quantity >= 0),
    CONSTRAINT ck_seat_subscription_pending_has_a_day
        CHECK ((pending_quantity IS NULL) = (pending_at IS NULL)),
    CONSTRAINT fk_seat_subscription_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id)
);
CREATE UNIQUE INDEX uq_seat_subscription_live
    ON seat_subscription (organisation_id) WHERE status NOT IN ('canceled', 'incomplete_expired');

CREATE TABLE payment_invoice (
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    month DATE,
    amount_micros BIGINT NOT NULL,
    state TEXT NOT NULL,
    invoice_id TEXT,
    number TEXT,
    hosted_url TEXT,
    pdf_url TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL,
    due_at TIMESTAMPTZ,
    paid_at TIMESTAMPTZ,
    payment_id UUID,
    CONSTRAINT pk_payment_invoice PRIMARY KEY (id),
    CONSTRAINT ck_payment_invoice_kind CHECK (kind IN ('credit', 'seats')),
    CONSTRAINT ck_payment_invoice_amount CHECK (amount_micros >= 0),
    CONSTRAINT ck_payment_invoice_state
        CHECK (state IN ('started', 'open', 'paid', 'void', 'uncollectible')),
    CONSTRAINT ck_payment_invoice_month CHECK ((kind = 'credit') = (month IS NOT NULL)),
    CONSTRAINT ck_payment_invoice_paid_at CHECK ((state = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT uq_payment_invoice_invoice_id UNIQUE (invoice_id),
    CONSTRAINT fk_payment_invoice_organisation_id
        FOREIGN KEY (organisation_id) REFERENCES organisation (id),
    CONSTRAINT fk_payment_invoice_payment_id FOREIGN KEY (payment_id) REFERENCES payment (id)
);
CREATE INDEX ix_payment_invoice_organisation_id_created_at
    ON payment_invoice (organisation_id, created_at);
CREATE UNIQUE INDEX uq_payment_invoice_month
    ON payment_invoice (organisation_id, month) WHERE kind = 'credit';
"""
