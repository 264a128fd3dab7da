"""Verify: the incremental state against a full rebuild from the lake, and the online store against the offline rows."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import md5
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.domain.window import Window, first_buffer_day
from updater.errors import NothingCommittedError, VerificationError
from updater.lake import embeddings as offline
from updater.lake import partitions
from updater.lake import summaries as summary_store
from updater.lake.bucket_files import bucket_files
from updater.lake.buffer import Buffer, EventFile
from updater.lake.schemas import EVENT_ROWS
from updater.lake.summaries import Summaries
from updater.ledger import ModelRecord
from updater.pipeline.context import Context, Progress, no_progress
from updater.pipeline.publish import views
from updater.pipeline.served import compare_online, not_overtaken
from updater.pipeline.threads import one_thread
from updater.pipeline.timing import Stopwatch
from updater.pipeline.tools import Tools
from updater.pipeline.user_events import load_events, prefix_fingerprints, user_batch

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5
"""Largest difference of an embedding's component in float32; another type of processor rounds differently."""


@dataclass
class VerifyReport:
    """What was compared, and what differed."""

    ds: str
    users: int = 0
    summaries: int = 0
    embeddings: int = 0
    online_values: int = 0
    texts: int = 0
    """Texts encoded again and compared bit for bit."""
    max_embedding_difference: float = 0.0
    differences: list[str] = field(default_factory=list)
    """One sentence per difference."""


def verify(
    context: Context,
    sample: int | None,
    progress: Progress = no_progress,
    model: ModelRecord | None = None,
    tolerance: float = TOLERANCE,
) -> VerifyReport:
    """Compare the newest committed window with a rebuild from the lake, for `sample` users or for all (None).

    Summaries and the texts' vectors must agree to the bit, embeddings to `tolerance`, online values exactly with the
    offline rows.

    Args:
        context: the deployment.
        sample: number of users; None for all.
        progress: told what is done.
        model: the version whose feature views are compared; the live one if left out.
        tolerance: largest difference of an embedding's component; 0 for an audit: with the same scenarios on the same
            type of processor an embedding does not depend on batch, order, bucket or retry in a single bit.

    Raises:
        NothingCommittedError: no window is committed.
    """
    watch = Stopwatch()
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError(
            "No window is committed yet, so there is nothing to verify; run `updater run --ds …`."
        )
    window = context.window(watermark)
    tools = Tools(context, model)
    report = VerifyReport(str(window))
    with one_thread(), TemporaryDirectory(prefix="updater-verify-") as scratch:
        files = _land_again(context, window, scratch, progress)
        _compare_texts(context, tools, files, sample, report)
        buckets = range(context.settings.buffer.num_buckets)
        for done, bucket in enumerate(buckets):
            progress("verifying", done, len(buckets))
            for users in _users(context, tools, files, window, bucket, sample):
                _compare(context, tools, window, bucket, users, files, report, tolerance)
    logger.info(
        "verified %d users at %s: %d differences, %.1f s", report.users, window, len(report.differences), watch.seconds
    )
    return report


def raise_if_different(report: VerifyReport) -> None:
    """Raise VerificationError if anything differed."""
    if report.differences:
        raise VerificationError(
            f"{len(report.differences)} differences at {report.ds}, first: {report.differences[0]} "
            "See `updater verify --json` for all; `updater status` lists partitions that were "
            "rewritten after they had been processed."
        )


def _land_again(context: Context, window: Window, scratch: str, progress: Progress) -> dict[str, list[EventFile]]:
    """The event files of every processed partition that can matter, made afresh from the lake."""
    settings = context.settings
    files: dict[str, list[EventFile]] = {}
    for modality in settings.modalities:
        first = first_buffer_day(window.ds, settings.buffer.days) if modality.kind == "stream" else date.min
        records = context.ledger.partitions(modality.name, from_date=first, to_date=window.ds)
        files[modality.name] = []
        for done, record in enumerate(records):
            progress(f"reading {modality.name}", done, len(records))
            path = f"{scratch}/{modality.name}-{record.ds}.parquet"
            partitions.write_table(path, context.landed(modality, record.ds).events, row_group_size=EVENT_ROWS)
            files[modality.name].append(EventFile(record.ds, path))
    return files


def _compare_texts(
    context: Context, tools: Tools, files: dict[str, list[EventFile]], sample: int | None, report: VerifyReport
) -> None:
    """Encode texts again: all of a small set, a fixed sample of a large one."""
    from updater.model.text_encoder import load_text_encoder

    tables = [
        partitions.read_table(file.path, ["text_id", "text", "deleted"]) for group in files.values() for file in group
    ]
    if not tables:
        return
    texts = pa.concat_tables(tables)
    texts = texts.filter(pc.invert(texts["deleted"])).group_by(["text_id", "text"]).aggregate([]).sort_by("text_id")
    # Ids are hashes, so the first of them are a fair sample.
    texts = texts.slice(0, min(sample or 256, 256)).combine_chunks()
    if not texts.num_rows:
        return
    stored = tools.vectors.gather(texts["text_id"].combine_chunks())
    again = load_text_encoder(context.settings.model.text_encoder).encode(texts["text"].to_pylist())
    different = np.flatnonzero((stored.view(np.uint16) != again.view(np.uint16)).any(axis=1))
    report.texts = texts.num_rows
    report.differences += [
        f"The stored vector of text {texts['text_id'][i].as_py().hex()} differs from encoding it again."
        for i in different
    ]


def _users(
    context: Context, tools: Tools, files: dict[str, list[EventFile]], window: Window, bucket: int, sample: int | None
) -> Iterator[pa.Table]:
    """Users of a bucket to verify, in batches: those with state and those that the lake says should have some."""
    settings = context.settings
    users = set(summary_store.read_users(tools.connection, bucket_files(context.state("summaries"), bucket, window.ds)))
    for modality in settings.modalities:
        buffer = Buffer(tools.connection, modality, files[modality.name], settings.buffer.days, settings.timezone)
        everyone = buffer.everyone(window)
        users |= set(everyone.filter(pc.equal(everyone["bucket"], bucket))["user_id"].to_pylist())
    wanted = sorted(users)
    if sample is not None:
        per_bucket = -(-sample // settings.buffer.num_buckets)
        wanted = sorted(
            sorted(wanted, key=lambda user: md5(user.encode(), usedforsecurity=False).digest()[8:])[:per_bucket]
        )
    for start in range(0, len(wanted), settings.run.users_per_batch):
        yield pa.table({"user_id": pa.array(wanted[start : start + settings.run.users_per_batch], pa.string())})


def _compare(
    context: Context,
    tools: Tools,
    window: Window,
    bucket: int,
    users: pa.Table,
    files: dict[str, list[EventFile]],
    report: VerifyReport,
    tolerance: float,
) -> None:
    settings = context.settings
    names = users["user_id"].to_pylist()
    everyone = np.arange(len(names))
    stored_files = bucket_files(context.state("summaries"), bucket, window.ds)
    widths = {modality.name: width for modality, width in zip(settings.modalities, tools.widths, strict=True)}
    stored = summary_store.read_newest(tools.connection, stored_files, widths, users)
    events, rebuilt = [], []
    for modality in settings.modalities:
        buffer = Buffer(tools.connection, modality, files[modality.name], settings.buffer.days, settings.timezone)
        events.append(load_events(buffer, modality, window, users, [bucket], tools.vectors))
        rebuilt.append(events[-1].summarise(everyone))
        for row in _different_rows(rebuilt[-1], stored[modality.name]):
            report.differences.append(f"The {modality.name} summary of user {names[row]!r} differs from its rebuild.")
        report.summaries += len(names)
    report.users += len(names)
    queries, scenarios = [s.query for s in settings.scenarios], [s.name for s in settings.scenarios]
    embeddings = tools.model.embed(user_batch(events, rebuilt, everyone), queries, scenarios)
    fingerprints = prefix_fingerprints(events, rebuilt, everyone)
    published = {
        view: offline.read_newest(tools.connection, context.state("offline", view), bucket, users, window.ds)
        for view in views(context, tools.model_record.version)
    }
    for position, scenario in enumerate(settings.scenarios):
        rows = published[columns.scenario_view(scenario.name, tools.model_record.version)]
        _compare_embeddings(scenario.name, names, embeddings[:, position], rows, report, tolerance)
    _compare_fingerprints(names, fingerprints, published[columns.SUMMARIES_VIEW], report)
    head = context.ledger.head(bucket)
    if head is not None and head.ds > window.ds:
        published = {
            view: not_overtaken(context, tools.connection, view, bucket, rows) for view, rows in published.items()
        }
    _compare_online(context, published, report)


def _different_rows(one: Summaries, other: Summaries) -> Sequence[int]:
    """Rows in which two summaries are not the same to the bit."""
    different = np.zeros(len(one.num_events_B), bool)
    for name, values in vars(one).items():
        mine = np.ascontiguousarray(values).reshape(len(different), -1)
        theirs = np.ascontiguousarray(getattr(other, name)).reshape(len(different), -1)
        same = (mine == theirs) & (np.signbit(mine) == np.signbit(theirs))
        different |= ~(same | (np.isnan(mine) & np.isnan(theirs))).all(axis=1)
    return np.flatnonzero(different).tolist()


def _compare_embeddings(
    scenario: str, names: list[str], rebuilt: Any, rows: pa.Table, report: VerifyReport, tolerance: float
) -> None:
    found = {user: row for row, user in enumerate(rows[columns.JOIN_KEY].to_pylist())}
    for row, user in enumerate(names):
        if user not in found:
            report.differences.append(f"User {user!r} has no published {scenario} embedding.")
            continue
        stored = np.asarray(rows[columns.embedding(scenario)][found[user]].as_py(), np.float32)
        difference = float(np.abs(stored - rebuilt[row]).max())
        report.embeddings += 1
        report.max_embedding_difference = max(report.max_embedding_difference, difference)
        if not difference <= tolerance:
            report.differences.append(
                f"The {scenario} embedding of user {user!r} differs from its rebuild by {difference:.1e}."
            )


def _compare_fingerprints(names: list[str], fingerprints: list[str], rows: pa.Table, report: VerifyReport) -> None:
    stored = dict(zip(rows[columns.JOIN_KEY].to_pylist(), rows[columns.PREFIX_FINGERPRINT].to_pylist(), strict=True))
    report.differences += [
        f"The prefix of user {user!r} differs from its rebuild."
        for user, mark in zip(names, fingerprints, strict=True)
        if stored.get(user) != mark
    ]


def _compare_online(context: Context, published: dict[str, pa.Table], report: VerifyReport) -> None:
    found = compare_online(context, published)
    report.online_values += found.values
    report.differences += [
        f"{view}:{name} of user {user!r} differs between the online store and the offline rows."
        for view, name, user in found.differences
    ]
