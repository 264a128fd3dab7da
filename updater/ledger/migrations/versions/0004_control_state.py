"""What commands decide by gets places of its own: promotions are counted beside the live version and not in the audit,
and the reach, which moves, leaves the settings, which do not.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "ledger_live_model", sa.Column("num_promotions", sa.Integer, nullable=False, server_default=sa.text("0"))
    )
    op.execute(
        "UPDATE ledger_live_model SET num_promotions = (SELECT count(*) FROM ledger_audit WHERE action = 'promote')"
    )
    reach = op.create_table(
        "ledger_reach",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("ds", sa.Date, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_reach"),
        sa.CheckConstraint("id = 1", name=op.f("ck_ledger_reach_single_row")),
    )
    settings = sa.table("ledger_settings", sa.column("key", sa.Text), sa.column("value", sa.Text))
    known = settings.c.key == "retention.reach"
    # SQLite has no dates to cast to; both databases keep them as they are written here.
    cast = sa.cast(settings.c.value, sa.Date) if op.get_bind().dialect.name == "postgresql" else settings.c.value
    op.execute(reach.insert().from_select(["id", "ds"], sa.select(sa.literal_column("1"), cast).where(known)))
    op.execute(settings.delete().where(known))
