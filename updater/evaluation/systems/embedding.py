"""Users at an anchor, embedded once for all questions, and kept: the same model, users and questions give one file.

A file has a row for each user with buffered events: `user_id`, `event_timestamp` (the instant at which the anchor is
known), `days_since_newest` and the embeddings `q0`, `q1`, … in the order of the questions. Its metadata have
the CPU time that it took.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from updater.domain import columns
from updater.domain.fingerprint import fingerprint
from updater.evaluation.systems.costs import BYTES_PER_NUMBER, Cost, CpuClock
from updater.labels.tasks import Question
from updater.lake import partitions
from updater.runtime.deployment import Context, Progress, no_progress, open_context
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.training.profiles import Profiles, read_profiles

Float32 = npt.NDArray[np.float32]
DAYS_SINCE = "days_since_newest"
SECONDS_PER_DAY = 86_400
_READING, _COMPUTING = b"updater.cpu_seconds_reading", b"updater.cpu_seconds_computing"


@dataclass(frozen=True)
class Embedder:
    """A model and what it is asked, or the mean of text vectors."""

    directory: str = ""
    """The model's directory; empty for the mean text vector, which is asked nothing."""
    digest: str = ""
    """The model's."""
    questions: tuple[Question, ...] = ()

    def file(self, context: Context, anchor: date) -> str:
        """Where the embeddings of an anchor lie; the name says what they are made from."""
        events = {
            name: [(str(file.ds), file.path.rpartition("/")[2]) for file in files]
            for name, files in context.all_event_files(anchor).items()
        }
        asked = [(question.query, question.scenario) for question in self.questions]
        key = fingerprint(self.digest, str(anchor), asked, events, context.settings.buffer.days)
        return context.layout.evaluated_embeddings(key)


def question_column(position: int) -> str:
    """The column with the embeddings of a question."""
    return f"q{position}"


def embed(
    context: Context,
    pool: ProcessPool,
    embedders: Sequence[Embedder],
    anchors: Sequence[date],
    progress: Progress = no_progress,
) -> None:
    """Make the files of all embedders and anchors that are not there yet, an anchor to a process."""
    jobs = []
    for anchor in anchors:
        # Two embedders of equal models have one file.
        files = {embedder.file(context, anchor): embedder for embedder in embedders}
        missing = [embedder for file, embedder in files.items() if not partitions.exists(file)]
        if missing:
            jobs.append((context.settings, context.now, anchor, missing))
    for done, _ in enumerate(pool.map(embed_anchor, jobs)):
        progress("embedding users at anchors", done + 1, len(jobs))


def measured_cost(
    context: Context, embedder: Embedder, anchors: Sequence[date], *, recency_alone: bool = False
) -> Cost | None:
    """The cost of computing the files of these anchors, or their recency alone; None if a file has no CPU time."""
    keys = (_READING,) if recency_alone else (_READING, _COMPUTING)
    seconds, num_users, width = 0.0, 0, 0
    for anchor in anchors:
        fs, path = partitions.filesystem(embedder.file(context, anchor))
        with fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(file)
            stored = [(parquet.schema_arrow.metadata or {}).get(key) for key in keys]
            num_users += parquet.metadata.num_rows
            if not width and parquet.metadata.num_rows:
                width = len(next(parquet.iter_batches(1, columns=[question_column(0)]))[0][0])
        if None in stored:
            return None
        seconds += sum(float(part) for part in stored if part is not None)
    if recency_alone:
        return Cost(1000 * seconds / max(1, num_users), BYTES_PER_NUMBER)
    vectors = max(1, len(embedder.questions))
    return Cost(1000 * seconds / max(1, num_users), BYTES_PER_NUMBER * width * vectors, vectors)


def embed_anchor(settings: Settings, now: datetime, anchor: date, embedders: Sequence[Embedder]) -> None:
    """Write the files of one anchor; its users are read once for all."""
    from updater.model.checkpoint import load_model
    from updater.model.inference import InferenceModel
    from updater.runtime.device import model_device
    from updater.runtime.session import Session

    context = open_context(settings, now)
    reading = CpuClock()
    with reading.running():
        profiles = read_profiles(context, Session(context), anchor)
    for embedder in embedders:
        computing = CpuClock()
        if embedder.directory:
            model = InferenceModel(load_model(embedder.directory).to(model_device(settings)))
            queries = [question.query for question in embedder.questions]
            scenarios = [question.scenario for question in embedder.questions]
            with computing.running():
                parts = [model.embed(profiles.batch(rows), queries, scenarios) for rows in _rows(settings, profiles)]
            values = np.concatenate(parts or [np.zeros((0, len(queries), model.config.embedding_dim), np.float32)])
        else:
            with computing.running():
                values = mean_text(profiles)[:, None]
        spent = {_READING: f"{reading.seconds:.6f}", _COMPUTING: f"{computing.seconds:.6f}"}
        table = _table(context, profiles, values).replace_schema_metadata(spent)
        partitions.write_table(embedder.file(context, anchor), table)


def mean_text(profiles: Profiles) -> Float32:
    """Mean text vector of all of a user's buffered events, of all modalities: shape (users, text width)."""
    totals = [summary.mean_BV * summary.num_events_B[:, None] for summary in profiles.summaries]
    # Behind the text vector lie the numeric columns, of which each modality has its own.
    width = min(total.shape[1] - len(e.modality.numeric) for total, e in zip(totals, profiles.events, strict=True))
    count = np.sum([summary.num_events_B for summary in profiles.summaries], axis=0)
    sums = np.sum([total[:, :width] for total in totals], axis=0)
    mean: Float32 = (sums / np.maximum(count, 1)[:, None]).astype(np.float32)
    return mean


def _rows(settings: Settings, profiles: Profiles) -> Iterator[npt.NDArray[np.int64]]:
    size = settings.run.users_per_batch
    for start in range(0, len(profiles.users), size):
        yield np.arange(start, min(start + size, len(profiles.users)))


def _table(context: Context, profiles: Profiles, values_UQE: Float32) -> pa.Table:
    window = context.window(profiles.anchor)
    newest = np.fmax.reduce([summary.last_event_B for summary in profiles.summaries], axis=0)
    # A user of snapshots alone has no event; the buffer's length is as long ago as one could be.
    since = (window.as_of.timestamp() - newest) / SECONDS_PER_DAY
    num_users, num_questions, width = values_UQE.shape
    offsets = np.arange(0, num_users * width + 1, width, dtype=np.int32)
    embeddings = {
        question_column(q): pa.ListArray.from_arrays(offsets, np.ascontiguousarray(values_UQE[:, q]).reshape(-1))
        for q in range(num_questions)
    }
    return pa.table(
        {
            columns.JOIN_KEY: pa.array(profiles.users.tolist(), pa.string()),
            columns.EVENT_TIMESTAMP: pa.array([window.as_of] * num_users, pa.timestamp("us", "UTC")),
            DAYS_SINCE: np.nan_to_num(since, nan=float(context.settings.buffer.days)),
            **embeddings,
        }
    )
