"""The database itself refuses to change or remove audit rows; states made before pseudonyms existed know plain ids."""

from alembic import op

revision = "0003"
down_revision = "0002"

MESSAGE = "ledger_audit is append-only"

SQLITE = (
    f"""CREATE TRIGGER ledger_audit_no_update BEFORE UPDATE ON ledger_audit
    BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END""",
    f"""CREATE TRIGGER ledger_audit_no_delete BEFORE DELETE ON ledger_audit
    BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END""",
    # REPLACE deletes without asking the trigger above.
    f"""CREATE TRIGGER ledger_audit_no_replace BEFORE INSERT ON ledger_audit
    WHEN EXISTS (SELECT 1 FROM ledger_audit WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END""",
)
POSTGRESQL = (
    f"""CREATE FUNCTION ledger_audit_refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$""",
    """CREATE TRIGGER ledger_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_audit
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_audit_refuse()""",
)


def upgrade() -> None:
    op.execute(
        "INSERT INTO ledger_settings (key, value) "
        "SELECT 'privacy.pseudonymise', 'false' WHERE EXISTS (SELECT 1 FROM ledger_settings)"
    )
    for statement in POSTGRESQL if op.get_bind().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)
