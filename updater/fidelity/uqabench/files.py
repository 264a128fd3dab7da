"""The four files of UQABench: Arrow IPC, mapped into memory and read in slices, never whole.

A row is a user, or a question about one. Ten columns hold a sequence each: for every position a list of ids. The files
of questions have a column `text` too: a chat as JSON, a question with its options and the letter that answers it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.errors import ConfigError, DataRefusedError

PRETRAIN_TRAIN, PRETRAIN_EVAL = "pretrain_data_train", "pretrain_data_eval"
ALIGN_TRAIN, ALIGN_EVAL = "align_data_train", "align_data_eval"
FILES = (PRETRAIN_TRAIN, PRETRAIN_EVAL, ALIGN_TRAIN, ALIGN_EVAL)
TEXT = "text"
SUBTASK = "subtask"
"""A column with a question's sub-task, which the published files do not have; where it is, no wording is looked at."""
ITEM = "uni_seq_item_id"
TITLE = "uni_seq_title_bpe_token_ids"
FEATURES = {
    ITEM: "item",
    "uni_seq_cate_id": "category",
    "uni_seq_brand_id": "brand",
    "uni_seq_shop_id": "shop",
    "uni_seq_seller_id": "seller",
    TITLE: "token",
    "uni_seq_cate_bpe_token_ids": "token",
    "uni_seq_shop_bpe_token_ids": "token",
    "uni_seq_brand_bpe_token_ids": "token",
    "uni_seq_seller_bpe_token_ids": "token",
}
"""Column of a sequence feature to the table that its ids are rows of."""


@dataclass(frozen=True)
class RowFile:
    """One of the files. Each iteration maps it anew, so that its pages can leave memory."""

    path: Path
    columns: tuple[str, ...]
    num_rows: int

    def slices(self, size: int, rng: np.random.Generator | None = None) -> Iterator[pa.RecordBatch]:
        """All rows once, at most `size` at a time, and no slice over the edge of a record batch.

        With `rng` record batches come in a drawn order, and so do the rows of each.
        """
        with pa.memory_map(str(self.path)) as source:
            reader = _reader(source, self.columns)
            numbers = np.arange(reader.num_record_batches)
            for number in numbers if rng is None else rng.permutation(numbers):
                rows = reader.get_batch(int(number)).select(self.columns)
                order = None if rng is None else rng.permutation(rows.num_rows)
                for start in range(0, rows.num_rows, size):
                    yield rows.slice(start, size) if order is None else rows.take(order[start : start + size])


def open_file(directory: Path, name: str) -> RowFile:
    """The file `<directory>/<name>.arrow`.

    Raises:
        ConfigError: there is none.
        DataRefusedError: it is no Arrow IPC file, or a column is missing or of another type.
    """
    path = directory / f"{name}.arrow"
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; give the directory of UQABench's {len(FILES)} files: {_names()}.")
    asks = name in (ALIGN_TRAIN, ALIGN_EVAL)
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            schema = reader.schema
            num_rows = sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches))
    except pa.ArrowInvalid as error:
        raise DataRefusedError(f"{path} is no Arrow IPC file: {error}") from None
    for column in FEATURES:
        if column not in schema.names or not _is_sequence(schema.field(column).type):
            raise DataRefusedError(f"{path} has no column {column!r} of lists of lists of integers; download it again.")
    if asks and (TEXT not in schema.names or not _is_text(schema.field(TEXT).type)):
        raise DataRefusedError(f"{path} has no column {TEXT!r} with chats as JSON; download it again.")
    more = [TEXT, *([SUBTASK] if SUBTASK in schema.names else [])] if asks else []
    return RowFile(path, (*FEATURES, *more), num_rows)


def table_rows(files: Sequence[RowFile]) -> dict[str, int]:
    """How many rows each table needs for all ids of the files: one more than the largest.

    Raises:
        DataRefusedError: an id is negative.
    """
    needed = dict.fromkeys(FEATURES.values(), 1)
    for file in files:
        for rows in file.slices(SCANNED_ROWS):
            for column, table in FEATURES.items():
                found = pc.min_max(pc.list_flatten(pc.list_flatten(rows[column]))).as_py()
                if found["max"] is None:
                    continue
                if found["min"] < 0:
                    raise DataRefusedError(f"{file.path} has the id {found['min']} in {column}; ids begin at 0.")
                needed[table] = max(needed[table], found["max"] + 1)
    return needed


SCANNED_ROWS = 1024


def _reader(source: pa.MemoryMappedFile, columns: Sequence[str]) -> pa.RecordBatchFileReader:
    names = pa.ipc.open_file(source).schema.names
    options = pa.ipc.IpcReadOptions(included_fields=[names.index(column) for column in columns])
    return pa.ipc.open_file(source, options=options)


def _is_sequence(kind: pa.DataType) -> bool:
    return _is_list(kind) and _is_list(kind.value_type) and pa.types.is_integer(kind.value_type.value_type)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _names() -> str:
    return ", ".join(f"{name}.arrow" for name in FILES)
