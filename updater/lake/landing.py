"""From a landed partition to validated event rows;
bad rows are rejected with a reason, and good ones are kept.
"""

import json
from dataclasses import dataclass
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.buckets import bucket_of
from updater.domain.declared.modality import Modality
from updater.domain.erasure import Erased
from updater.domain.window import Window
from updater.errors import DataRefusedError
from updater.lake import rows
from updater.lake.erased_rows import without_users
from updater.lake.landed_files import files_of_day
from updater.lake.pseudonyms import Pseudonyms
from updater.lake.reading import SourceDigest, read_batches
from updater.lake.schemas import REJECTED_SCHEMA, TEXT_ID_BYTES, event_schema, numeric_columns
from updater.lake.spool import Spool, in_order, in_order_on_disk
from updater.settings import Limits

MEMORY_BYTES = 512 << 20


@dataclass(frozen=True)
class Landed:
    """One partition, read and checked."""

    events: pa.Table
    """Good rows (`event_schema`), one per (user_id, event_id), sorted by bucket, user, time and id."""
    rejected: pa.Table
    """Bad rows (`REJECTED_SCHEMA`): the reason, where the row was, and the row itself as JSON."""
    num_rows: int
    num_bytes: int
    digest: str
    """BLAKE2b of the partition's bytes."""
    num_erased: int = 0
    """Rows of erased users, which are left out of `events` and `rejected`."""


def read_partition(
    directory: str,
    modality: Modality,
    window: Window,
    limits: Limits,
    num_buckets: int,
    pseudonyms: Pseudonyms | None,
    erased: Erased | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> Landed:
    """Read, check and normalize one partition.

    With `pseudonyms` no id of the lake gets any further: they replace `user_id` in good rows and in rejected ones. Rows
    of `erased` users are counted and left out.

    Good and rejected rows take `memory_bytes` each, and a few times as much while they are sorted. More of them are
    sorted on the disk, and the tables returned are read from there: the rows are the same.

    Raises:
        DataRefusedError: a file is unreadable, or none that can be read, or its schema is wrong.
    """
    found = files_of_day(directory)
    found.check()
    digest = SourceDigest()
    num_rows = num_erased = 0
    with Spool(event_schema(modality), memory_bytes) as good, Spool(REJECTED_SCHEMA, memory_bytes) as bad:
        for path in found.files:
            in_file = 0
            for table in read_batches(path, modality, digest):
                checked, reasons = rows.check(table, modality, window, limits)
                keep = pc.is_null(reasons)
                events = _renamed(checked.filter(keep), pseudonyms)
                refused = _renamed(table.filter(pc.invert(keep)), pseudonyms)
                rejected = _rejected(refused, reasons, path.rsplit("/", 1)[-1], in_file)
                if erased:
                    events, in_events = without_users(events, erased.among)
                    rejected, in_rejected = without_users(rejected, erased.among)
                    num_erased += in_events + in_rejected
                good.add(_events(events, modality, window, num_buckets))
                bad.add(rejected)
                in_file += table.num_rows
            num_rows += in_file
        events = in_order_on_disk(good.table(), memory_bytes) if good.on_disk else in_order(good.table())
        return Landed(events, bad.table(), num_rows, digest.num_bytes, digest.hexdigest(), num_erased)


def check_rejected_share(landed: Landed, directory: str, limits: Limits) -> None:
    """Raise DataRefusedError if more than the configured share of a partition is rejected."""
    if landed.rejected.num_rows <= limits.max_rejected_share * landed.num_rows:
        return
    counts = landed.rejected["reason"].value_counts()
    most = pc.index(counts.field("counts"), pc.max(counts.field("counts"))).as_py()
    reason, count = counts.field("values")[most], counts.field("counts")[most]
    raise DataRefusedError(
        f"{landed.rejected.num_rows} of {landed.num_rows} rows of {directory} are rejected, above the share of "
        f"{limits.max_rejected_share:g} that limits.max_rejected_share allows; most often "
        f"({count}) because {reason}, first in "
        f"{landed.rejected['file'][0]}. Land the day again without such rows, or raise the limit."
    )


def _renamed(table: pa.Table, pseudonyms: Pseudonyms | None) -> pa.Table:
    if pseudonyms is None:
        return table
    position = table.column_names.index("user_id")
    return table.set_column(position, "user_id", pseudonyms.column(table["user_id"]))


def _rejected(table: pa.Table, reasons: pa.Array, file: str, first_row: int) -> pa.Table:
    """`table` holds the rejected rows, `reasons` one entry per row of the batch that begins with `first_row`."""
    indices = pc.indices_nonzero(pc.is_valid(reasons))
    if not len(indices):
        return REJECTED_SCHEMA.empty_table()
    rejected = [json.dumps(row, default=str) for row in rows.as_python(table)]
    numbers = pc.add(indices.cast(pa.int64()), first_row)
    return pa.table(
        [reasons.take(indices), pa.repeat(file, len(indices)), numbers, pa.array(rejected)],
        schema=REJECTED_SCHEMA,
    )


def _events(table: pa.Table, modality: Modality, window: Window, num_buckets: int) -> pa.Table:
    """Checked rows as rows of an event file."""
    schema = event_schema(modality)
    if not table.num_rows:
        return schema.empty_table()
    text = rows.render(table, modality)
    users = pc.dictionary_encode(table["user_id"]).combine_chunks()
    texts = pc.dictionary_encode(text)
    bucket = pa.array([bucket_of(user, num_buckets) for user in users.dictionary.to_pylist()], pa.int32())
    text_ids = pa.array([text_id(value) for value in texts.dictionary.to_pylist()], pa.binary(TEXT_ID_BYTES))
    columns = {
        "user_id": table["user_id"],
        "bucket": bucket.take(users.indices),
        "ds": pa.repeat(pa.scalar(window.ds), table.num_rows),
        "event_id": table["event_id"],
        "event_time": table["event_time"],
        "deleted": table[rows.IS_DELETED],
        "text": text,
        "text_id": text_ids.take(texts.indices),
        "category": table[rows.text_name(modality.category, modality)]
        if modality.category
        else pa.nulls(table.num_rows),
        **{name: table[source] for name, source in zip(numeric_columns(modality), modality.numeric, strict=True)},
    }
    return pa.table(columns).cast(schema)


def text_id(text: str) -> bytes:
    """Content address of a text: sixteen bytes of BLAKE2b."""
    return blake2b(text.encode(), digest_size=TEXT_ID_BYTES).digest()
