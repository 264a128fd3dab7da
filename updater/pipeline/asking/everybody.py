"""A question about everybody: users stream through, and a run that is killed goes on where it was."""

from collections.abc import Iterator
from dataclasses import astuple

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.fingerprint import fingerprint
from updater.errors import NotFoundError
from updater.lake import partitions
from updater.pipeline.asking.active_users import active_users
from updater.pipeline.asking.parts import Parts
from updater.pipeline.query import USERS_PER_READ, Query, answer_users, batches
from updater.pipeline.query_file import (
    SCHEMA,
    EmbedFileReport,
    answers_table,
    cannot_be_written,
    file_report,
    num_told,
    parquet_writer,
)
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.process_pool import ProcessPool

LABEL = "embedding everybody"
FEWEST_PER_PART = 256
MOST_PARTS_OF_FEW = 64
"""Parts of users who would fit into few: enough for as many processes. Their sizes must not depend on the processes,
of which there may be others when a run is resumed."""


def embed_everybody(
    context: Context,
    pool: ProcessPool,
    query: str | None,
    scenario: str | None,
    output: str,
    progress: Progress = no_progress,
) -> EmbedFileReport:
    """Write the embeddings and answers of all users who have an event in the buffer (see `Query`) to `output`.

    `output` is a path or an fsspec URL. The rows lie bucket by bucket and by user, with the bits that each user has
    alone. What is finished waits beside the file, in parts, until the file appears whole; called again after a kill,
    finished parts are taken as they are, unless the state, the model or the question is another by now. Memory holds a
    bucket's ids and a part per process, however many users there are.

    Raises:
        NotFoundError: nobody has an event.
        ConfigError: the file cannot be written.
    """
    asked = Query(context, query, scenario)
    total = sum(len(users) for _, users in active_users(context, asked.window.ds))
    if not total:
        raise NotFoundError(
            f"Nobody has an event in the {context.settings.buffer.days} days up to {asked.window}; run the windows "
            "that have rows.",
            kind="user",
        )
    parts = Parts(output, _key(context, asked))
    with cannot_be_written(output):
        parts.begin()
    paths, done, num_kept = [], 0, 0
    for wave in batches(enumerate(_chunks(context, asked, total)), pool.num_processes):
        named = [(parts.path(number, users), users) for number, users in wave]
        wanted = [(path, users) for path, users in named if not partitions.exists(path)]
        num_here = sum(len(users) for _, users in named) - sum(len(users) for _, users in wanted)
        paths += [path for path, _ in named]
        num_kept += num_here
        done += num_here
        progress(LABEL, done, total)
        for index, answers in pool.map(answer_users, [asked.job(users) for _, users in wanted]) if wanted else ():
            path, users = wanted[index]
            with crash_point("part"):
                partitions.write_table(path, answers_table(asked, answers))
            done += len(users)
            progress(LABEL, done, total)
    with crash_point("joined"):
        num_users, num_answered = _join(context, parts, paths)
    with crash_point("parts_removed"):
        parts.remove()
    return file_report(asked, output, num_users, num_answered, num_kept)


def _key(context: Context, asked: Query) -> str:
    """A digest of what the rows depend on: event files are named by their content."""
    files = context.all_event_files(asked.window.ds)
    return fingerprint(
        # Parts of a version of this program that wrote other columns are of no use.
        SCHEMA.names,
        asked.model.digest,
        asked.model.name,
        asked.window.ds,
        astuple(asked.question),
        # A scenario's embedding is read off a pass over all of them.
        [astuple(scenario) for scenario in context.settings.scenarios],
        {modality: [file.path for file in found] for modality, found in files.items()},
        len(context.ledger.erased()),
        # Devices differ in the last digits.
        context.settings.model.device,
    )


def _chunks(context: Context, asked: Query, total: int) -> Iterator[list[str]]:
    """Users of a part: those of neighbouring buckets together where they are few."""
    size = min(USERS_PER_READ, max(FEWEST_PER_PART, -(-total // MOST_PARTS_OF_FEW)))
    users = (user for _, users in active_users(context, asked.window.ds) for user in users)
    yield from batches(users, size)


def _join(context: Context, parts: Parts, paths: list[str]) -> tuple[int, int]:
    """Write the whole file without users who were erased meanwhile. Returns its rows, and those with an answer."""
    erased, num_users, num_answered = context.ledger.erased(), 0, 0
    with partitions.write_file(parts.output) as file, parquet_writer(file) as writer:
        for path in paths:
            table = partitions.read_table(path)
            kept = _without(table, erased.among(table["user_id"].to_pylist()))
            writer.write_table(kept)
            num_users += kept.num_rows
            num_answered += num_told(kept)
    return num_users, num_answered


def _without(table: pa.Table, users: set[str]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["user_id"], value_set=pa.array(sorted(users), pa.string()))))
