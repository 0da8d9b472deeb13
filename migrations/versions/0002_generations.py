"""Generations, their pictures and events, and the presence of workers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_generations"
down_revision = "0001_licensing"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "generation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("request", postgresql.JSONB(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("worker_class", sa.Text(), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("price_version", sa.Text(), nullable=False),
        sa.Column("charged_micros", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("steps_done", sa.BigInteger(), nullable=False),
        sa.Column("steps_total", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'finished', 'failed', 'cancelled', 'refused')",
            name="ck_generation_state",
        ),
        sa.CheckConstraint("images > 0", name="ck_generation_images"),
        sa.CheckConstraint("price_micros >= 0", name="ck_generation_price"),
        sa.CheckConstraint(
            "charged_micros BETWEEN 0 AND price_micros"
            " AND (charged_micros = 0 OR state = 'finished')",
            name="ck_generation_charged",
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisation.id"],
            name="fk_generation_organisation_id_organisation",
        ),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name="fk_generation_member_id_member"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_generation"),
        sa.UniqueConstraint(
            "member_id", "idempotency_key", name="uq_generation_member_id_idempotency_key"
        ),
    )
    op.create_index(
        "ix_generation_member_id_created_at_id", "generation", ["member_id", "created_at", "id"]
    )
    op.create_index(
        "ix_generation_in_flight",
        "generation",
        ["state", "worker_class", "created_at"],
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "picture",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.BigInteger(), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("thumbnail_key", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "(key IS NULL) = (thumbnail_key IS NULL) AND (refused OR key IS NOT NULL)",
            name="ck_picture_refused",
        ),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name="fk_picture_generation_id_generation"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_picture"),
        sa.UniqueConstraint("generation_id", "index", name="uq_picture_generation_id_index"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name="fk_event_generation_id_generation"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )
    op.create_index("ix_event_member_id_id", "event", ["member_id", "id"])
    op.create_index("ix_event_generation_id_id", "event", ["generation_id", "id"])
    op.create_index(
        "ix_event_step_created_at",
        "event",
        ["created_at"],
        postgresql_where=sa.text("kind = 'step'"),
    )
    op.create_table(
        "worker_presence",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("models", postgresql.JSONB(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('starting', 'loading', 'ready', 'busy')", name="ck_worker_presence_state"
        ),
        sa.PrimaryKeyConstraint("name", name="pk_worker_presence"),
    )


def downgrade() -> None:
    op.drop_table("worker_presence")
    op.drop_table("event")
    op.drop_table("picture")
    op.drop_table("generation")
