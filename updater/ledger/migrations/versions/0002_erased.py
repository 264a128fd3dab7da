"""Erased users as keyed hashes, and how many rows of a partition were theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "ledger_erased",
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
        sa.Column("erased_at", sa.DateTime),
        sa.PrimaryKeyConstraint("hash", name="pk_ledger_erased"),
    )
    op.add_column(
        "ledger_partitions", sa.Column("num_erased", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )
