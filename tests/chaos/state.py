"""All that a deployment holds and that somebody could miss, as values that can be compared."""

import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.buckets import as_directory
from tests.chaos.servers import redis_hashes
from tests.deployment import tree
from updater.domain.bucket_file_names import live
from updater.ledger import LedgerReader, open_reader
from updater.model.sources import text_encoder_version
from updater.settings import Settings
from updater.state.bucket_files import all_files
from updater.state.layout import StateLayout
from updater.state.text_vectors import TextVectors

Items = dict[str, list[str]]
"""What there is under a name; a name that has two values where one is due has something twice."""
LAYOUT = "file "
"""Names of items that say in which files the values lie. Maintenance at another time gives other files."""
COUNTS = "counts of "
"""Names of items that say what a window had to do. Of a user who was erased since, that stays."""
WINDOW_COUNTS = ("changed_users", "changed_summaries", "prefixes", "active_users", "rows")
TEXT = "text "
"""Names of items that are text vectors. They belong to nobody; a window before an erasure leaves more."""
NOT_COMPARED = ("recorded_at", "committed_at", "source_etag", "events_file", "counts", "num_erased")
"""When an attempt was made, when a file of the lake was written; names of files and counts are compared apart."""


def items(settings: Settings) -> Items:
    """Offline rows, summaries, text vectors, online values, the ledger, and what must not be left over."""
    found: Items = defaultdict(list)
    with as_directory(settings.paths.state) as state:
        _rows(found, state)
        _texts(found, TextVectors(StateLayout(str(state)).texts(text_encoder_version(settings.model.text_encoder))))
        _files(found, state)
    _ledger(found, open_reader(settings.ledger.url))
    for name, value in online_values(settings):
        found[f"online {name}"].append(value)
    return dict(found)


def _rows(found: Items, state: Path) -> None:
    """Rows of the files that are read; while a merged file waits for the old ones to go, these are not."""
    roots = [state / "summaries", *sorted((state / "offline").glob("*"))]
    for root in roots:
        for file in live(all_files(str(root))):
            for row in pq.ParquetFile(file.path).read().to_pylist():
                of = row.get("modality") or row.get("event_timestamp")
                day = f"{row['ds']} " if "ds" in row else ""
                found[f"{root.name} {row['user_id']!r} {day}{of}"].append(repr(row))


def _files(found: Items, state: Path) -> None:
    for path, digest in tree(state, ("offline", "summaries", "events", "rejected")).items():
        found[f"{LAYOUT}{path}"].append(digest)
    for path in [*(state / "staged").rglob("*"), *(state / "restatement").rglob("*"), *state.rglob("*.tmp")]:
        found[f"left over {path.relative_to(state)}"].append("")


def _texts(found: Items, vectors: TextVectors) -> None:
    covered = set(vectors.covered())
    for path in sorted(Path(vectors.root).glob("*.arrow")):
        if str(path) not in covered:
            table = pa.ipc.open_file(path.read_bytes()).read_all()
            for text, vector in zip(table["text_id"].to_pylist(), table["vector"].to_pylist(), strict=True):
                found[f"{TEXT}{text.hex()}"].append(repr(vector))


def _ledger(found: Items, ledger: LedgerReader) -> None:
    for bucket, head in ledger.heads().items():
        found[f"head {bucket}"].append(repr(head))
        for record in ledger.bucket_history(bucket):
            name = f"record {bucket} {record.ds} g{record.generation}"
            found[name].append(_compared(record))
            found[f"{COUNTS}{name}"].append(repr(record.counts))
    for record in ledger.partitions():
        name = f"partition {record.modality} {record.ds}"
        found[name].append(_compared(record))
        found[f"{COUNTS}{name}"].append(str(record.num_erased))
        found[f"{LAYOUT}of {record.modality} {record.ds}"].append(str(record.events_file))
    for window in ledger.windows():
        counts = {name: window.counts.get(name) for name in WINDOW_COUNTS}
        done = window.completed_at is not None
        found[f"window {window.ds}"].append(repr((window.as_of, window.opened_at, done)))
        found[f"{COUNTS}window {window.ds}"].append(repr(counts))
    found["reach"].append(repr(ledger.earliest_recomputable()))
    found["erased"].append(repr((len(ledger.erased().hashes), ledger.unfinished_erasures())))
    found["erasures in the audit"].append(str(sum(row.action == "erase" for row in ledger.audit())))


def _compared(record: Any) -> str:
    return repr({name: value for name, value in vars(record).items() if name not in NOT_COMPARED})


def online_values(settings: Settings) -> list[tuple[str, str]]:
    """Every cell of the online store with its timestamps, as it is stored."""
    options = settings.online_store.options
    if settings.online_store.type == "redis":
        return [
            (f"{key.hex()} {field.hex()}", value.hex())
            for key, cells in redis_hashes(options["connection_string"]).items()
            for field, value in cells.items()
        ]
    with closing(sqlite3.connect(options["path"])) as connection:
        names = connection.execute("select name from sqlite_master where type = 'table' order by name").fetchall()
        return [
            (f"{name} {row[0].hex()} {row[1]}", repr(row[2:]))
            for (name,) in names
            for row in connection.execute(
                f'select entity_key, feature_name, value, event_ts, created_ts, rank from "{name}"'
            )
        ]
