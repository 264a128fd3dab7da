"""Partitions, windows, heads, bucket history, models, settings and audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "ledger_partitions",
        sa.Column("modality", sa.Text, nullable=False),
        sa.Column("ds", sa.Date, nullable=False),
        sa.Column("source_token", sa.Text, nullable=False),
        sa.Column("source_digest", sa.Text, nullable=False),
        sa.Column("declaration", sa.Text, nullable=False),
        sa.Column("events_file", sa.Text),
        sa.Column("num_rows", sa.BigInteger, nullable=False),
        sa.Column("num_rejected", sa.BigInteger, nullable=False),
        sa.Column("num_bytes", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("modality", "ds", name="pk_ledger_partitions"),
    )
    op.create_table(
        "ledger_windows",
        sa.Column("ds", sa.Date, nullable=False),
        sa.Column("as_of", sa.DateTime, nullable=False),
        sa.Column("opened_at", sa.DateTime, nullable=False),
        sa.Column("completed_at", sa.DateTime),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("ds", name="pk_ledger_windows"),
    )
    op.create_table(
        "ledger_heads",
        sa.Column("bucket", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("ds", sa.Date, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("scenarios", sa.JSON, nullable=False),
        sa.Column("modalities", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("bucket", name="pk_ledger_heads"),
    )
    op.create_table(
        "ledger_buckets",
        sa.Column("ds", sa.Date, nullable=False),
        sa.Column("bucket", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("committed_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("ds", "bucket", "generation", name="pk_ledger_buckets"),
    )
    op.create_table(
        "ledger_models",
        sa.Column("version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("trained", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_ledger_models"),
    )
    op.create_table(
        "ledger_live_model",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_live_model"),
        sa.CheckConstraint("id = 1", name=op.f("ck_ledger_live_model_single_row")),
        sa.ForeignKeyConstraint(["version"], ["ledger_models.version"], name="fk_ledger_live_model_version"),
    )
    op.create_table(
        "ledger_settings",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_ledger_settings"),
    )
    op.create_table(
        "ledger_audit",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_audit"),
    )
