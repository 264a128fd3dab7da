"""The lake against the state's event files: partitions are read, checked and rendered again, and every row compared."""

from collections.abc import Iterator, Sequence
from hashlib import md5

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.domain.erasure import Erased
from updater.domain.window import Window, first_buffer_day
from updater.lake.erased_rows import without_users
from updater.lake.schemas import event_schema
from updater.ledger import PartitionRecord
from updater.runtime.deployment import Context
from updater.state.lookup import Lookup


def partitions_to_compare(context: Context, window: Window, most_bytes: int | None) -> list[PartitionRecord]:
    """Processed partitions that the buffer reaches, in an order that is reshuffled every day.

    Args:
        context: the deployment.
        window: the window that is verified.
        most_bytes: take the first whose files in the lake have so many bytes together, but one in any case; 0: none;
            None: all.
    """
    records = []
    for modality in context.settings.modalities:
        oldest = first_buffer_day(window.ds, context.settings.buffer.days) if modality.kind == "stream" else None
        records += context.ledger.partitions(modality.name, from_date=oldest, to_date=window.ds)
    if most_bytes is None:
        return records
    if not most_bytes:
        return []
    records.sort(key=lambda record: _hash(f"{window.ds} {record.modality} {record.ds}"))
    chosen: list[PartitionRecord] = []
    for record in records:
        most_bytes -= record.num_bytes
        if chosen and most_bytes < 0:
            break
        chosen.append(record)
    return chosen


def compare_partition(
    context: Context,
    connection: duckdb.DuckDBPyConnection,
    record: PartitionRecord,
    landed: pa.Table,
    buckets: Sequence[int],
    lookup: Lookup,
    erased: Erased,
) -> Iterator[str]:
    """A sentence if a partition of the lake, `landed` again, and its rows in the event file are not the same.

    Of a file into which days were merged only the rows of `buckets` are compared; and if of each user only the newest
    rows were kept, only that those which are there are right.
    """
    modality = context.settings.modality(record.modality)
    lookup.bytes_read += record.num_bytes
    stored, is_complete = _stored(context, modality, record, buckets, lookup)
    # An erasure that is under way has not reached every file yet.
    stored, _ = without_users(stored, erased.among)
    if record.events_file and "/" in record.events_file:
        landed = landed.filter(pc.is_in(landed["bucket"], value_set=pa.array(buckets, pa.int32())))
    if stored.equals(landed):
        return
    connection.register("landed", landed)
    connection.register("stored", stored)
    missing = "union all (select * from landed except select * from stored)" if is_complete else ""
    query = f"""
        select user_id from ((select * from stored except select * from landed) {missing})
        group by user_id order by user_id"""
    users = [user for (user,) in connection.execute(query).fetchall()]
    if users:
        others = f" and {len(users) - 1} other users" if len(users) > 1 else ""
        yield f"The {record.modality} events of {record.ds} of user {users[0]!r}{others} differ from the lake's."


def _stored(
    context: Context, modality: Modality, record: PartitionRecord, buckets: Sequence[int], lookup: Lookup
) -> tuple[pa.Table, bool]:
    """Stored rows of a partition, and whether they are all of them."""
    schema = event_schema(modality)
    if not record.events_file:
        return schema.empty_table(), True
    files = context.files_of_day(modality.name, record.ds, record.events_file)
    if not files[0].merged:
        return pa.concat_tables([lookup.whole(file.path).select(schema.names).cast(schema) for file in files]), True
    found = ((file.path, bucket) for bucket in buckets for file in files if file.may_hold([bucket]))
    rows = pa.concat_tables([lookup.of_value(path, ("bucket", bucket)) for path, bucket in found])
    rows = rows.filter(pc.equal(rows["ds"], pa.scalar(record.ds)))
    return rows.select(schema.names).cast(schema), not is_base(record.events_file)


def is_base(events_file: str) -> bool:
    """True for a merged file that holds of each user only the newest rows."""
    return events_file.rsplit("/", 1)[-1].startswith("base")


def _hash(text: str) -> bytes:
    return md5(text.encode(), usedforsecurity=False).digest()
