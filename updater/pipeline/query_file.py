"""Many users' embeddings and answers for one question, in a Parquet file."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from updater.errors import ConfigError, NotFoundError
from updater.lake import partitions
from updater.pipeline.query import Answers, Query
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.process_pool import ProcessPool

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("scenario", pa.string()),
        ("query", pa.string()),
        ("as_of", pa.timestamp("us", tz="UTC")),
        ("model_version", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("answer", pa.float32()),
    ]
)
"""As in `EmbedReport`; `scenario` is null for a question of one's own."""


@dataclass(frozen=True)
class EmbedFileReport:
    """A file of embeddings and answers."""

    file: str
    num_users: int
    """Its rows."""
    num_answered: int
    """Those with an answer: all of them or none, see `Answers`."""
    query: str
    scenario: str | None
    as_of: str
    model: str
    trained: bool
    unknown: list[str]
    """Users without events in the buffer, by the ids of the state; they have no row."""
    erased: list[str]
    """Likewise users who were erased."""
    missing: str
    """A sentence about both; empty if there are none."""
    num_kept: int = 0
    """Rows that an earlier attempt had computed, of a file of everybody."""


def embed_to_parquet(
    context: Context,
    pool: ProcessPool,
    user_ids: Sequence[str],
    query: str | None,
    scenario: str | None,
    output: str,
    progress: Progress = no_progress,
) -> EmbedFileReport:
    """Write the embeddings and answers of users for one question (see `Query`) to `output`, a path or an fsspec URL.

    The file has a row per user, in the order of bucket and id whatever the processes and the order of `user_ids`, and
    appears whole or not at all.

    Raises:
        NotFoundError: none of the users has an embedding.
        ConfigError: the file cannot be written.
    """
    asked = Query(context, query, scenario)
    num_users = num_answered = 0
    with ExitStack() as stack:
        with cannot_be_written(output):
            file = stack.enter_context(partitions.write_file(output))
        with parquet_writer(file) as writer:
            for answers in asked.answers(user_ids, pool, progress):
                table = answers_table(asked, answers)
                if table.num_rows:
                    writer.write_table(table)
                num_users += table.num_rows
                num_answered += num_told(table)
        if not num_users:
            raise NotFoundError(asked.missing(), kind="user", name=[*asked.unknown, *asked.erased][0])
    return file_report(asked, output, num_users, num_answered)


@contextmanager
def cannot_be_written(output: str) -> Iterator[None]:
    """Around the opening of `output`: what the disk says against it becomes a ConfigError."""
    try:
        if partitions.is_local(output) and Path(output).is_dir():
            raise IsADirectoryError(21, "it is a directory")
        yield
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error.strerror or error}); name another file.") from None


def parquet_writer(file: IO[bytes]) -> pq.ParquetWriter:
    """A writer of rows of `SCHEMA`. Vectors are stored plainly, as everywhere in the state."""
    plain = [name for name in SCHEMA.names if name != "embedding"]
    return pq.ParquetWriter(file, SCHEMA, compression="lz4", use_dictionary=plain)


def file_report(asked: Query, output: str, num_users: int, num_answered: int, num_kept: int = 0) -> EmbedFileReport:
    """What was written."""
    return EmbedFileReport(
        file=output,
        num_users=num_users,
        num_answered=num_answered,
        query=asked.question.query,
        scenario=asked.question.scenario,
        as_of=asked.window.as_of.isoformat(),
        model=asked.model.name,
        trained=asked.model.trained,
        unknown=asked.unknown,
        erased=asked.erased,
        missing=asked.missing(),
        num_kept=num_kept,
    )


def answers_table(asked: Query, answers: Answers) -> pa.Table:
    """Rows of `SCHEMA`."""
    num_users, width = answers.embeddings_UE.shape
    offsets = np.arange(0, num_users * width + 1, width, dtype=np.int32)
    columns = [
        pa.array(answers.users, pa.string()),
        pa.array([asked.question.scenario] * num_users, pa.string()),
        pa.array([asked.question.query] * num_users, pa.string()),
        pa.array([asked.window.as_of] * num_users, SCHEMA.field("as_of").type),
        pa.array([asked.model.name] * num_users, pa.string()),
        pa.ListArray.from_arrays(offsets, answers.embeddings_UE.reshape(-1)),
        pa.array(answers.answer_U, pa.float32(), from_pandas=True),  # NaN becomes null
    ]
    return pa.table(columns, schema=SCHEMA)


def num_told(table: pa.Table) -> int:
    """Rows with an answer."""
    return int(table.num_rows - table["answer"].null_count)
