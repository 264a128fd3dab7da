"""One verification: values of users are made again from the lake or from their own event rows, and compared."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from updater.domain import columns
from updater.domain.erasure import Erased
from updater.domain.window import Window
from updater.lake import partitions
from updater.lake.schemas import EVENT_ROWS
from updater.ledger import Head, ModelRecord, PartitionRecord
from updater.pipeline.monitor.online_check import compare_online, not_superseded
from updater.pipeline.monitor.verify_compare import (
    VerifyReport,
    compare_embeddings,
    compare_fingerprints,
    compare_profiles,
    different_rows,
    first_texts,
    some_texts,
)
from updater.pipeline.monitor.verify_lake import compare_partition, partitions_to_compare
from updater.pipeline.monitor.verify_sample import Sampler
from updater.runtime.deployment import Context, Progress, open_context
from updater.runtime.process_pool import ProcessPool, open_session
from updater.runtime.session import Session
from updater.settings import Settings
from updater.state import embeddings as offline
from updater.state import summaries as summary_store
from updater.state.bucket_files import bucket_files
from updater.state.event_store import Buffer, EventFile
from updater.users.event_batches import load_events, prefix_fingerprints, user_batch
from updater.users.profiles import profiles_of

MERGED_BUCKETS = 2
"""Of event files into which days were merged so many buckets are compared with the lake."""
MOST_TEXTS = 256
"""Encoded again: all of a small set, a fixed sample of a large one."""
RECORDS_PER_JOB = 32
"""Partitions of the lake that a process lands again before it takes others."""

Found = TypeVar("Found")
EventFiles = Mapping[str, Sequence[EventFile]]


@dataclass(frozen=True)
class Comparison:
    """One verification; each of its parts returns what it found."""

    context: Context
    session: Session
    window: Window
    sampler: Sampler
    tolerance: float
    online: bool = True

    def everybody(
        self, records: Sequence[PartitionRecord], pool: ProcessPool | None, scratch: str, progress: Progress
    ) -> VerifyReport:
        """All users, from `records`, the whole lake, which is landed again in `scratch`; without a `pool` here."""
        starts = range(0, len(records), RECORDS_PER_JOB)
        parts = [(records[start : start + RECORDS_PER_JOB], scratch) for start in starts]
        landed = self._each(pool, Comparison.land, parts, "reading the lake", progress)
        files: dict[str, list[EventFile]] = {modality.name: [] for modality in self.context.settings.modalities}
        for modality, file in (each for part in landed for each in part.files):
            files[modality].append(file)
        report = sum((part.report for part in landed), self._nothing)
        texts = [part.texts for part in landed if part.texts is not None]
        report += self._compare_texts(first_texts(texts, MOST_TEXTS))
        users: dict[int, set[str]] = {bucket: set() for bucket in range(self.context.settings.buffer.num_buckets)}
        for bucket, user in self._with_content(files):
            users[bucket].add(user)
        groups = pool.groups(list(users)) if pool else [[bucket] for bucket in users]
        chosen = [({bucket: users[bucket] for bucket in group}, files) for group in groups]
        return sum(self._each(pool, Comparison.buckets, chosen, "verifying", progress), report)

    def land(self, records: Sequence[PartitionRecord], scratch: str) -> "_Landed":
        """Partitions of the lake, landed again and compared with their event files."""
        files, report = [], self._nothing
        for record in records:
            landed = self._landed(record)
            files.append((record.modality, self._write_events(record, landed, scratch)))
            bucket = record.ds.toordinal() % self.context.settings.buffer.num_buckets
            report += self._compare_with_lake(record, landed, [bucket])
        return _Landed(files, some_texts([file.path for _, file in files], MOST_TEXTS), report)

    def buckets(self, users: Mapping[int, Collection[str]], files: EventFiles) -> VerifyReport:
        """Everybody of some buckets: `users`, who have events in `files`, and whoever has a summary."""
        report = self._nothing
        for bucket, found in users.items():
            paths = bucket_files(self.context.layout.summaries(), bucket, self.window.ds)
            everyone = {*found, *summary_store.read_users(self.session.connection, paths)}
            report += self._compare_bucket(bucket, sorted(everyone), files)
        return report

    def _each(
        self,
        pool: ProcessPool | None,
        part: Callable[..., Found],
        jobs: Sequence[tuple[Any, ...]],
        label: str,
        progress: Progress,
    ) -> list[Found]:
        """What `part`, a method, finds of each job, in their order."""
        progress(label, 0, len(jobs))
        found: dict[int, Found] = {}
        mine = self.context.settings, self.context.now, self.session.model_record, self.window.ds, self.tolerance
        here = ((index, part(self, *job)) for index, job in enumerate(jobs))
        for index, one in pool.map(_in_process, [(*mine, part, job) for job in jobs]) if pool else here:
            found[index] = one
            progress(label, len(found), len(jobs))
        return [found[index] for index in range(len(jobs))]

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
        paths = sorted({file.path for group in files.values() for file in group})
        report = self._compare_texts(some_texts(paths, most_texts))
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

    @cached_property
    def _erased(self) -> Erased:
        """Read once: whoever is erased meanwhile makes differences, and these ask whether anybody was."""
        return self.context.ledger.erased()

    @cached_property
    def _heads(self) -> Mapping[int, Head]:
        return self.context.ledger.heads()

    @property
    def _nothing(self) -> VerifyReport:
        return VerifyReport(str(self.window))

    def _landed(self, record: PartitionRecord) -> pa.Table:
        modality = self.context.settings.modality(record.modality)
        return self.context.landed(modality, record.ds, self._erased).events

    def _write_events(self, record: PartitionRecord, landed: pa.Table, scratch: str) -> EventFile:
        """The event file of a processed partition, made afresh from the lake."""
        path = f"{scratch}/{record.modality}-{record.ds}.parquet"
        partitions.write_table(path, landed, row_group_size=EVENT_ROWS)
        return EventFile(record.ds, path)

    def _compare_with_lake(self, record: PartitionRecord, landed: pa.Table, buckets: Sequence[int]) -> VerifyReport:
        session, lookup = self.session, self.sampler.lookup
        found = compare_partition(self.context, session.connection, record, landed, buckets, lookup, self._erased)
        return replace(self._nothing, partitions=1, differences=list(found))

    def _compare_texts(self, texts: pa.Table | None) -> VerifyReport:
        """Encode texts again."""
        from updater.model.text_encoder import load_text_encoder

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
        choice, awaited = settings.profile, self._awaited(bucket)
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
        report += replace(self._nothing, awaited=sorted(awaited))
        for position, scenario in enumerate(settings.scenarios):
            if scenario.name in awaited:
                continue
            found = published[columns.scenario_view(scenario.name, session.model_record.version)]
            report += compare_embeddings(
                str(window), scenario.name, names, embeddings[:, position], found, self.tolerance
            )
        if choice.enabled and columns.PROFILE not in awaited:
            profiles = profiles_of(events, everyone, choice).profiles
            report += compare_profiles(str(window), names, profiles, published[columns.PROFILE_VIEW])
        marks = prefix_fingerprints(events, everyone)
        different = compare_fingerprints(names, marks, published[columns.SUMMARIES_VIEW])
        report += replace(self._nothing, differences=different)
        return report + self._compare_online(bucket, published) if self.online else report

    def _awaited(self, bucket: int) -> set[str]:
        """Scenarios, or the profile, of which the bucket's rows are of another recipe than the present one."""
        if (head := self._heads.get(bucket)) is None:
            return set()
        wanted = self.context.published_fingerprints().items()
        return {name for name, mark in wanted if head.scenarios.get(name) != mark}

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


@dataclass(frozen=True)
class _Landed:
    """Partitions that were landed again."""

    files: Sequence[tuple[str, EventFile]]
    """Modality and event file of each."""
    texts: pa.Table | None
    """Some of their texts."""
    report: VerifyReport


def _in_process(
    settings: Settings,
    now: datetime,
    version: ModelRecord,
    ds: date,
    tolerance: float,
    part: Callable[..., Found],
    job: tuple[Any, ...],
) -> Found:
    """A part of a verification in a worker process."""
    context = open_context(settings, now)
    window = context.window(ds)
    session = open_session(context, version)
    return part(Comparison(context, session, window, Sampler(context, window), tolerance), *job)
