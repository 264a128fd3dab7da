"""Retired files, and whether a restatement is under way; both were files of the state, which are taken over."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    retired = op.create_table(
        "ledger_retired",
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_ledger_retired"),
    )
    restatement = op.create_table(
        "ledger_restatement",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("began", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_restatement"),
        sa.CheckConstraint("id = 1", name=op.f("ck_ledger_restatement_single_row")),
    )
    former = context.config.attributes["former"]
    if former.retired:
        op.bulk_insert(retired, [{**vars(file), "since": _stored(file.since)} for file in former.retired])
    if former.restatement is not None:
        op.bulk_insert(restatement, [{"id": 1, "began": _stored(former.restatement)}])


def _stored(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
