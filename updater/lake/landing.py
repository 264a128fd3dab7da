"""From a landed partition to validated event rows;
bad rows are set aside with a reason, and never take good ones along.
"""

import json
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.utils import tokenize

from updater.domain.buckets import bucket_of
from updater.domain.modality import Modality
from updater.domain.window import Window
from updater.errors import DataRefusedError
from updater.lake import partitions, rows
from updater.lake.pseudonyms import Pseudonyms
from updater.lake.schemas import TEXT_ID_BYTES, check_schema, event_schema, numeric_columns
from updater.settings import Limits

REJECTED_SCHEMA = pa.schema(
    [("reason", pa.string()), ("file", pa.string()), ("row_number", pa.int64()), ("row", pa.string())]
)


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


def source_token(directory: str) -> str:
    """Cheap fingerprint of a partition's files: names, sizes and modification marks, without reading them."""
    fs, inner = partitions.filesystem(directory)
    files = [fs.info(partitions.filesystem(path)[1]) for path in partitions.list_files(directory)]
    marks = [(info["name"].removeprefix(inner), info["size"], _mark(info)) for info in files]
    return str(tokenize(marks))


def source_digest(directory: str) -> str:
    """Digest of the bytes of a partition's files, in the order of their names."""
    digest = blake2b(digest_size=16)
    for path in partitions.list_files(directory):
        fs, inner = partitions.filesystem(path)
        digest.update(fs.cat_file(inner))
    return digest.hexdigest()


def _mark(info: dict[str, object]) -> str:
    return str(
        next((info[key] for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created") if key in info), "")
    )


def read_partition(
    directory: str,
    modality: Modality,
    window: Window,
    limits: Limits,
    num_buckets: int,
    pseudonyms: Pseudonyms | None,
) -> Landed:
    """Read, check and normalise one partition.

    With `pseudonyms` no id of the lake gets any further: they replace `user_id` in good rows and in rejected ones.

    Raises:
        DataRefusedError: a file is unreadable or its schema is wrong.
    """
    digest = blake2b(digest_size=16)
    good, bad, num_rows, num_bytes = [], [], 0, 0
    for path in partitions.list_files(directory):
        fs, inner = partitions.filesystem(path)
        content = fs.cat_file(inner)
        digest.update(content)
        num_bytes += len(content)
        table = _parse(content, modality, path)
        num_rows += table.num_rows
        checked, reasons = rows.check(table, modality, window, limits)
        keep = pc.is_null(reasons)
        good.append(_renamed(checked.filter(keep), pseudonyms))
        refused = _renamed(table.filter(pc.invert(keep)), pseudonyms)
        bad.append(_rejected(refused, reasons, path.rsplit("/", 1)[-1]))
    events = _finish(good, modality, window, num_buckets)
    rejected = pa.concat_tables(bad) if bad else REJECTED_SCHEMA.empty_table()
    return Landed(events, rejected, num_rows, num_bytes, digest.hexdigest())


def check_rejected_share(landed: Landed, directory: str, limits: Limits) -> None:
    """Raise DataRefusedError if more than the configured share of a partition is rejected."""
    if landed.rejected.num_rows <= limits.max_rejected_share * landed.num_rows:
        return
    reason, count = Counter(landed.rejected["reason"].to_pylist()).most_common(1)[0]
    raise DataRefusedError(
        f"{landed.rejected.num_rows} of {landed.num_rows} rows of {directory} are rejected, above the share of "
        f"{limits.max_rejected_share:g} that limits.max_rejected_share allows; most often "
        f"({count}) because {reason}, first in "
        f"{landed.rejected['file'][0]}. Land the day again, or raise the limit."
    )


def _parse(content: bytes, modality: Modality, path: str) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        check_schema(file.schema_arrow, modality, path)
        wanted = {*("user_id", "event_id", "event_time", "op"), *modality.columns}
        return file.read(columns=[name for name in file.schema_arrow.names if name in wanted])
    except (pa.ArrowException, OSError) as error:
        raise DataRefusedError(
            f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}); land the day again."
        ) from None


def _renamed(table: pa.Table, pseudonyms: Pseudonyms | None) -> pa.Table:
    if pseudonyms is None:
        return table
    position = table.column_names.index("user_id")
    return table.set_column(position, "user_id", pseudonyms.column(table["user_id"]))


def _rejected(table: pa.Table, reasons: pa.Array, file: str) -> pa.Table:
    """`table` holds the rejected rows, `reasons` one entry per row of the file."""
    indices = pc.indices_nonzero(pc.is_valid(reasons))
    if not len(indices):
        return REJECTED_SCHEMA.empty_table()
    rejected = [json.dumps(row, default=str) for row in rows.as_python(table)]
    return pa.table(
        [reasons.take(indices), pa.repeat(file, len(indices)), indices.cast(pa.int64()), pa.array(rejected)],
        schema=REJECTED_SCHEMA,
    )


def _finish(tables: list[pa.Table], modality: Modality, window: Window, num_buckets: int) -> pa.Table:
    schema = event_schema(modality)
    if not tables or not sum(table.num_rows for table in tables):
        return schema.empty_table()
    table = _last_of_each_event(pa.concat_tables(tables))
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
    events = pa.table(columns).cast(schema)
    return events.sort_by([(name, "ascending") for name in ("bucket", "user_id", "event_time", "event_id")])


def text_id(text: str) -> bytes:
    """Content address of a text: sixteen bytes of BLAKE2b."""
    return blake2b(text.encode(), digest_size=TEXT_ID_BYTES).digest()


def _last_of_each_event(table: pa.Table) -> pa.Table:
    """Within one partition the last row (by file name, then position) of an event id stands."""
    numbered = table.select(["user_id", "event_id"]).append_column("row", pa.array(range(table.num_rows), pa.int64()))
    last = numbered.group_by(["user_id", "event_id"]).aggregate([("row", "max")])["row_max"]
    return table if len(last) == table.num_rows else table.take(last)
