"""Verify: the incremental state against a rebuild, the event files against the lake, and the online store against the
offline rows.

For all users everything is landed again from the lake. For a sample nothing is read that follows the number of users:
its values are rebuilt from its own rows of the event files, and the event files of some days are compared with the lake
(docs/adr/0019-a-sample-costs-a-sample.md).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import md5
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from updater.domain import columns
from updater.domain.buckets import bucket_of
from updater.domain.window import Window
from updater.errors import NothingCommittedError
from updater.lake import partitions
from updater.lake.schemas import EVENT_ROWS
from updater.ledger import ModelRecord, PartitionRecord
from updater.pipeline.changes import read_changes
from updater.pipeline.monitor.online_check import compare_online, not_superseded
from updater.pipeline.monitor.undisturbed import undisturbed
from updater.pipeline.monitor.verify_compare import (
    VerifyReport,
    compare_embeddings,
    compare_fingerprints,
    compare_profiles,
    different_rows,
    some_texts,
)
from updater.pipeline.monitor.verify_lake import compare_partition, partitions_to_compare
from updater.pipeline.monitor.verify_sample import Sampler
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.session import Session
from updater.runtime.threads import one_thread
from updater.runtime.timing import Stopwatch
from updater.state import embeddings as offline
from updater.state import summaries as summary_store
from updater.state.bucket_files import bucket_files
from updater.state.event_store import Buffer, EventFile
from updater.users.event_batches import load_events, prefix_fingerprints, user_batch
from updater.users.profiles import profiles_of

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5
"""Largest difference of an embedding's component in float32; another type of processor rounds differently."""
LAKE_BYTES = 8 * 2**20
"""Of the lake a sample reads whole partitions, reshuffled each day, up to so many bytes but at least one."""
MERGED_BUCKETS = 2
"""Of event files into which days were merged so many buckets are compared with the lake."""
MOST_TEXTS = 256

EventFiles = Mapping[str, Sequence[EventFile]]


def verify(
    context: Context,
    sample: int | None,
    progress: Progress = no_progress,
    model: ModelRecord | None = None,
    tolerance: float = TOLERANCE,
    lake_bytes: int = LAKE_BYTES,
) -> VerifyReport:
    """Compare the newest committed window with a rebuild, for `sample` users or for all (None).

    Summaries, textual profiles and the texts' vectors must agree to the bit, embeddings to `tolerance`, online values
    exactly with the offline rows, event files with the lake's partitions.

    Args:
        context: the deployment.
        sample: number of users; None for all.
        progress: called as work is done.
        model: the version whose feature views are compared; the live one if left out.
        tolerance: largest difference of an embedding's component; 0 for an audit: with the same scenarios on the same
            type of processor an embedding does not depend on batch, order, bucket or retry in a single bit.
        lake_bytes: how much of the lake a sample reads; of a smaller lake it reads all.

    Raises:
        NothingCommittedError: no window is committed.
        ConcurrentUpdateError: something differs, and users were erased, a version became live or days were restated
            meanwhile, so that what was compared is no more.
        UnfinishedWorkError: something differs while an erasure has not come to its end.
    """
    watch = Stopwatch()
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError(
            "No window is committed yet, so there is nothing to verify; run `updater run --ds …`."
        )
    window = context.window(watermark)
    with (
        undisturbed(context) as check,
        Session(context, model) as session,
        one_thread(),
        TemporaryDirectory(prefix="updater-verify-") as scratch,
    ):
        comparison = _Comparison(context, session, window, Sampler(context, window), tolerance)
        if sample is None:
            report = comparison.everybody(scratch, progress)
        else:
            report = comparison.sample(sample, lake_bytes, scratch, progress)
        if report.differences:
            check()
    logger.info(
        "verified %d users at %s: %d differences, %.1f s", report.users, window, len(report.differences), watch.seconds
    )
    return report


def verify_recomputed(
    context: Context, window: Window, num_users: int, progress: Progress = no_progress
) -> VerifyReport:
    """Compare a sample of those whom a window recomputed with a rebuild, before the window's values go online.

    The offline rows of the window must be in place; the online store is not looked at. Raises as `verify` does.
    """
    changed = {
        user
        for modality in context.settings.modalities
        for user in read_changes(context, window, modality.name)["user_id"].to_pylist()
    }
    changed -= context.ledger.erased().among(changed)
    chosen: dict[int, list[str]] = {}
    for user in sorted(sorted(changed, key=lambda user: _order(window, user))[:num_users]):
        chosen.setdefault(bucket_of(user, context.settings.buffer.num_buckets), []).append(user)
    with (
        undisturbed(context) as check,
        Session(context) as session,
        one_thread(),
        TemporaryDirectory(prefix="updater-verify-") as scratch,
    ):
        sampler = Sampler(context, window)
        report = _Comparison(context, session, window, sampler, TOLERANCE, online=False).users(
            chosen, scratch, progress
        )
        if report.differences:
            check()
    return report


def _order(window: Window, user: str) -> bytes:
    return md5(f"{window.ds} {user}".encode(), usedforsecurity=False).digest()


@dataclass(frozen=True)
class _Comparison:
    """One verification; each of its parts returns what it found."""

    context: Context
    session: Session
    window: Window
    sampler: Sampler
    tolerance: float
    online: bool = True

    def everybody(self, scratch: str, progress: Progress) -> VerifyReport:
        """All users, from the whole lake."""
        records = partitions_to_compare(self.context, self.window, None)
        files: dict[str, list[EventFile]] = {modality.name: [] for modality in self.context.settings.modalities}
        report = self._nothing
        for done, record in enumerate(records):
            progress("reading the lake", done, len(records))
            landed = self._landed(record)
            files[record.modality].append(self._write_events(record, landed, scratch))
            bucket = record.ds.toordinal() % self.context.settings.buffer.num_buckets
            report += self._compare_with_lake(record, landed, [bucket])
        report += self._compare_texts([file.path for group in files.values() for file in group], MOST_TEXTS)
        users: dict[int, set[str]] = {bucket: set() for bucket in range(self.context.settings.buffer.num_buckets)}
        for bucket, user in self._with_content(files):
            users[bucket].add(user)
        for done, (bucket, found) in enumerate(users.items()):
            progress("verifying", done, len(users))
            paths = bucket_files(self.context.layout.summaries(), bucket, self.window.ds)
            everyone = found.union(summary_store.read_users(self.session.connection, paths))
            report += self._compare_bucket(bucket, sorted(everyone), files)
        return report

    def sample(self, num_users: int, lake_bytes: int, scratch: str, progress: Progress) -> VerifyReport:
        """Some users from the event files, and some partitions of the lake against these."""
        chosen = self.sampler.choose(num_users)
        records = partitions_to_compare(self.context, self.window, lake_bytes)
        buckets = list(chosen)[:MERGED_BUCKETS] or [0]
        report = self._nothing
        for done, record in enumerate(records):
            progress("comparing with the lake", done, len(records))
            report += self._compare_with_lake(record, self._landed(record), buckets)
        return report + self.users(chosen, scratch, progress, min(num_users, MOST_TEXTS))

    def users(
        self, chosen: Mapping[int, Sequence[str]], scratch: str, progress: Progress, most_texts: int = 0
    ) -> VerifyReport:
        """Chosen users by bucket, from their own rows of the event files."""
        files = self.sampler.write_events(chosen, scratch)
        report = self._compare_texts(sorted({file.path for group in files.values() for file in group}), most_texts)
        content: dict[int, set[str]] = {}
        for bucket, user in self._with_content(files):
            content.setdefault(bucket, set()).add(user)
        for done, (bucket, users) in enumerate(sorted(chosen.items())):
            progress("verifying", done, len(chosen))
            stored = self.sampler.summaries(bucket, users)
            known = set(stored["user_id"].to_pylist()) if stored is not None else set()
            # Events can lie in landed days that the buffer reaches, and be too old for it: such users have no state.
            expected = sorted(set(users) & (known | content.get(bucket, set())))
            report += self._compare_bucket(bucket, expected, files)
        return report + replace(self._nothing, bytes_read=self.sampler.lookup.bytes_read)

    @property
    def _nothing(self) -> VerifyReport:
        return VerifyReport(str(self.window))

    def _landed(self, record: PartitionRecord) -> pa.Table:
        return self.context.landed(self.context.settings.modality(record.modality), record.ds).events

    def _write_events(self, record: PartitionRecord, landed: pa.Table, scratch: str) -> EventFile:
        """The event file of a processed partition, made afresh from the lake."""
        path = f"{scratch}/{record.modality}-{record.ds}.parquet"
        partitions.write_table(path, landed, row_group_size=EVENT_ROWS)
        return EventFile(record.ds, path)

    def _compare_with_lake(self, record: PartitionRecord, landed: pa.Table, buckets: Sequence[int]) -> VerifyReport:
        session, lookup = self.session, self.sampler.lookup
        found = compare_partition(self.context, session.connection, record, landed, buckets, lookup)
        return replace(self._nothing, partitions=1, differences=list(found))

    def _compare_texts(self, paths: Sequence[str], most: int) -> VerifyReport:
        """Encode texts again: all of a small set, a fixed sample of a large one."""
        from updater.model.text_encoder import load_text_encoder

        texts = some_texts(paths, most)
        if texts is None or not texts.num_rows:
            return self._nothing
        stored = self.session.vectors.gather(texts["text_id"].combine_chunks())
        again = load_text_encoder(self.context.settings.model.text_encoder).encode(texts["text"].to_pylist())
        different = np.flatnonzero((stored.view(np.uint16) != again.view(np.uint16)).any(axis=1))
        differences = [
            f"The stored vector of text {texts['text_id'][i].as_py().hex()} differs from encoding it again."
            for i in different
        ]
        return replace(self._nothing, texts=texts.num_rows, differences=differences)

    def _buffers(self, files: EventFiles) -> Iterator[Buffer]:
        settings = self.context.settings
        for modality in settings.modalities:
            found = files[modality.name]
            yield Buffer(self.session.connection, modality, found, settings.buffer.days, settings.timezone)

    def _with_content(self, files: EventFiles) -> Iterator[tuple[int, str]]:
        """Buckets and users that `files` give content: whoever should have state."""
        for buffer in self._buffers(files):
            everyone = buffer.everyone(self.window)
            yield from zip(everyone["bucket"].to_pylist(), everyone["user_id"].to_pylist(), strict=True)

    def _compare_bucket(self, bucket: int, users: Sequence[str], files: EventFiles) -> VerifyReport:
        size = self.context.settings.run.users_per_batch
        groups = [list(users[start : start + size]) for start in range(0, len(users), size)]
        return sum((self._compare(bucket, group, files) for group in groups), self._nothing)

    def _compare(self, bucket: int, names: list[str], files: EventFiles) -> VerifyReport:
        context, session, window = self.context, self.session, self.window
        settings = context.settings
        users = pa.table({"user_id": pa.array(names, pa.string())})
        everyone = np.arange(len(names))
        widths = {modality.name: width for modality, width in zip(settings.modalities, session.widths, strict=True)}
        rows = self.sampler.summaries(bucket, names)
        stored = summary_store.newest_of(session.connection, rows, widths, users)
        events, rebuilt, differences = [], [], []
        choice = settings.profile
        for modality, buffer in zip(settings.modalities, self._buffers(files), strict=True):
            counted = choice.counted_column(modality) if choice.enabled else ""
            events.append(load_events(buffer, modality, window, users, [bucket], session.vectors, counted))
            rebuilt.append(events[-1].summarize(everyone))
            differences += [
                f"The {modality.name} summary of user {names[row]!r} differs from its rebuild."
                for row in different_rows(rebuilt[-1], stored[modality.name])
            ]
        queries, scenarios = [s.query for s in settings.scenarios], [s.name for s in settings.scenarios]
        embeddings = session.inference.embed(user_batch(events, everyone), queries, scenarios)
        published = {
            view: offline.read_newest(context.layout.offline(view), bucket, users, window.ds, self.sampler.lookup)
            for view in context.feature_views(session.model_record.version)
        }
        report = replace(self._nothing, users=len(names), summaries=len(names) * len(rebuilt), differences=differences)
        for position, scenario in enumerate(settings.scenarios):
            found = published[columns.scenario_view(scenario.name, session.model_record.version)]
            report += compare_embeddings(
                str(window), scenario.name, names, embeddings[:, position], found, self.tolerance
            )
        if choice.enabled:
            profiles = profiles_of(events, everyone, choice).profiles
            report += compare_profiles(str(window), names, profiles, published[columns.PROFILE_VIEW])
        marks = prefix_fingerprints(events, everyone)
        different = compare_fingerprints(names, marks, published[columns.SUMMARIES_VIEW])
        report += replace(self._nothing, differences=different)
        return report + self._compare_online(bucket, published) if self.online else report

    def _compare_online(self, bucket: int, published: Mapping[str, pa.Table]) -> VerifyReport:
        head = self.context.ledger.head(bucket)
        if head is not None and head.ds > self.window.ds:
            published = {view: not_superseded(self.context, view, bucket, rows) for view, rows in published.items()}
        found = compare_online(self.context, published)
        differences = [
            f"{view}:{name} of user {user!r} differs between the online store and the offline rows."
            for view, name, user in found.differences
        ]
        return replace(self._nothing, online_values=found.values, differences=differences)
