"""Run by Alembic; `updater.ledger.revisions.upgrade` gives the connection, whose transaction it commits itself."""

from alembic import context

from updater.ledger.revisions import VERSION_TABLE
from updater.ledger.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
)
context.run_migrations()
