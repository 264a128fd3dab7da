"""Tables of the ledger. Columns have the names of the fields of `updater.ledger.records`.

All names start with `ledger_`, because Feast's registry and online store may share the database.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)


class UTCDateTime(TypeDecorator[datetime]):
    """A timezone-aware datetime, stored as naive UTC with microseconds: the same value on every database.

    Raises ValueError for a naive datetime, whose zone nobody could know later.
    """

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The stored value of `value`."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no timezone; the ledger takes timezone-aware datetimes.")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The value of a stored one."""
        return None if value is None else value.replace(tzinfo=UTC)


METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

PARTITIONS = Table(
    "ledger_partitions",
    METADATA,
    Column("modality", Text, primary_key=True),
    Column("ds", Date, primary_key=True),
    Column("source_token", Text, key="source_etag", nullable=False),
    Column("source_digest", Text, nullable=False),
    Column("declaration", Text, key="modality_fingerprint", nullable=False),
    Column("events_file", Text),
    Column("num_rows", BigInteger, nullable=False),
    Column("num_rejected", BigInteger, nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("recorded_at", UTCDateTime, nullable=False),
    Column("num_erased", BigInteger, nullable=False, server_default=text("0")),
)

WINDOWS = Table(
    "ledger_windows",
    METADATA,
    Column("ds", Date, primary_key=True),
    Column("as_of", UTCDateTime, nullable=False),
    Column("opened_at", UTCDateTime, nullable=False),
    Column("completed_at", UTCDateTime),
    Column("counts", JSON, nullable=False),
)

HEADS = Table(
    "ledger_heads",
    METADATA,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("ds", Date, nullable=False),
    Column("digest", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("scenarios", JSON, nullable=False),
    Column("modalities", JSON, nullable=False),
)

BUCKETS = Table(
    "ledger_buckets",
    METADATA,
    Column("ds", Date, primary_key=True),
    Column("bucket", Integer, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("files", JSON, nullable=False),
    Column("committed_at", UTCDateTime, nullable=False),
)

MODELS = Table(
    "ledger_models",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("trained", Boolean, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
)

# A single row instead of a flag per model: two live versions cannot be stored, whoever promotes at the same time.
LIVE_MODEL = Table(
    "ledger_live_model",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="single_row"), primary_key=True, autoincrement=False),
    Column("version", Integer, ForeignKey(MODELS.c.version), nullable=False),
    Column("num_promotions", Integer, nullable=False, server_default=text("0")),
)

REACH = Table(
    "ledger_reach",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="single_row"), primary_key=True, autoincrement=False),
    Column("ds", Date, nullable=False),
)

# While there is a row a restatement is under way; its plan is a file of the state.
RESTATEMENT = Table(
    "ledger_restatement",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="single_row"), primary_key=True, autoincrement=False),
    Column("began", UTCDateTime, nullable=False),
)

RETIRED = Table(
    "ledger_retired",
    METADATA,
    Column("path", Text, primary_key=True),
    Column("since", UTCDateTime, nullable=False),
    Column("size", BigInteger, nullable=False),
)

SETTINGS = Table(
    "ledger_settings",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# No ids: a row says that rows of some user must not come back, and can only be matched by who has the id.
ERASED = Table(
    "ledger_erased",
    METADATA,
    Column("hash", Text, primary_key=True),
    Column("recorded_at", UTCDateTime, nullable=False),
    Column("erased_at", UTCDateTime),
)

AUDIT = Table(
    "ledger_audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", UTCDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", JSON, nullable=False),
)
