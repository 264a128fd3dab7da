"""The ledger: what has been done, in SQLite or PostgreSQL.

Callers that only look get a `LedgerReader`; only the pipeline holds a `LedgerWriter`.
"""

from updater.ledger.reader import LedgerReader, open_reader
from updater.ledger.records import (
    AuditRecord,
    BucketRecord,
    FormerFiles,
    Head,
    ModelRecord,
    PartitionRecord,
    Published,
    RetiredFile,
    WindowRecord,
)
from updater.ledger.revisions import upgrade
from updater.ledger.writer import LedgerWriter, open_writer

__all__ = [
    "AuditRecord",
    "BucketRecord",
    "FormerFiles",
    "Head",
    "LedgerReader",
    "LedgerWriter",
    "ModelRecord",
    "PartitionRecord",
    "Published",
    "RetiredFile",
    "WindowRecord",
    "open_reader",
    "open_writer",
    "upgrade",
]
