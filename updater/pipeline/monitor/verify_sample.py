"""A sample of users to verify, chosen without looking at everybody, and what the state holds of them.

A sample is made of runs of neighbours: a few users that follow each other by id in one bucket. Whoever has a summary or
an event between the first and the last of them belongs to the run, so users that the state lacks, and users that it
should not have, are found as well. Buckets and first users follow a hash of the day: every day brings other ones, and
the same day the same ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import md5
from heapq import merge
from itertools import takewhile

import pyarrow as pa

from updater.domain.declared.modality import Modality
from updater.domain.window import Window, first_buffer_day
from updater.lake import partitions
from updater.lake.schemas import EVENT_ROWS, event_schema
from updater.runtime.deployment import Context
from updater.state.bucket_files import bucket_files
from updater.state.event_store import EventFile
from updater.state.lookup import Lookup, Only

NEIGHBOURS = 10
"""Users of a run: more in a run read fewer row groups, more runs are a better sample."""


@dataclass(frozen=True)
class Sampler:
    """Reads the state of one window by users."""

    context: Context
    window: Window
    lookup: Lookup = field(default_factory=Lookup)

    def choose(self, num_users: int) -> dict[int, list[str]]:
        """About `num_users` users by bucket, sorted; all there are if they are fewer."""
        num_buckets = self.context.settings.buffer.num_buckets
        order = sorted(range(num_buckets), key=lambda bucket: self._hash("bucket", bucket))
        found: dict[int, list[str]] = {}
        missing, erased = num_users, self.context.ledger.erased()
        for position, bucket in enumerate(order):
            runs_left = min(-(-missing // NEIGHBOURS), num_buckets - position)
            run: list[str] = []
            for user in self._users(bucket) if missing else ():
                if user not in erased:
                    run.append(user)
                if len(run) >= -(-missing // runs_left):
                    break
            missing -= len(run)
            if run:
                found[bucket] = sorted(run)
        if missing:
            # The last buckets have too few: the first ones take more, and in the end everybody is taken.
            for bucket in order:
                known = set(found.get(bucket, ()))
                more = (user for user in self._users(bucket) if user not in known and user not in erased)
                run = [user for user, _ in zip(more, range(missing), strict=False)]
                missing -= len(run)
                if run or known:
                    found[bucket] = sorted(known | set(run))
        return found

    @cached_property
    def event_files(self) -> dict[str, list[EventFile]]:
        """Per modality the event files that the buffer can hold rows of."""
        settings = self.context.settings
        first = first_buffer_day(self.window.ds, settings.buffer.days)
        files = self.context.all_event_files(self.window.ds)
        kinds = {modality.name: modality.kind for modality in settings.modalities}
        return {
            name: [file for file in found if kinds[name] == "snapshot" or file.ds >= first]
            for name, found in files.items()
        }

    def write_events(self, chosen: Mapping[int, Sequence[str]], scratch: str) -> dict[str, list[EventFile]]:
        """Write the event rows of users (by bucket, sorted) to a file per modality; that file, for each of its days."""
        made = {}
        for modality in self.context.settings.modalities:
            files = self.event_files[modality.name]
            made[modality.name] = self._write(modality, files, chosen, f"{scratch}/{modality.name}-sample.parquet")
        return made

    def summaries(self, bucket: int, users: Sequence[str]) -> pa.Table | None:
        """Rows of `users` (sorted) in the bucket's summary files; None without files."""
        paths = bucket_files(self.context.layout.summaries(), bucket, self.window.ds)
        names = [modality.name for modality in self.context.settings.modalities]
        tables = [self.lookup.rows(path, users, ("modality", name)) for path in paths for name in names]
        return pa.concat_tables(tables, promote_options="default") if tables else None

    def _write(
        self, modality: Modality, files: Sequence[EventFile], chosen: Mapping[int, Sequence[str]], path: str
    ) -> list[EventFile]:
        schema = event_schema(modality)
        tables = [
            self.lookup.rows(name, users, ("bucket", bucket)).cast(schema)
            for name, file in {file.path: file for file in files}.items()
            for bucket, users in chosen.items()
            if file.may_hold([bucket])
        ]
        if not tables:
            return []
        rows = pa.concat_tables(tables)
        keys = [(name, "ascending") for name in ("bucket", "user_id", "event_time", "event_id", "ds")]
        partitions.write_table(path, rows.sort_by(keys), row_group_size=EVENT_ROWS)
        return [EventFile(ds, path, merged=True) for ds in dict.fromkeys(file.ds for file in files)]

    def _users(self, bucket: int) -> Iterator[str]:
        """All users of a bucket, each once, from the first user of its run on and round to that user again."""
        sources = self._sources(bucket)
        start = self._first(bucket, sources)
        yield from self._ascending(sources, start)
        yield from takewhile(lambda user: user < start, self._ascending(sources, ""))

    def _ascending(self, sources: Sequence[tuple[str, Only]], first: str) -> Iterator[str]:
        last = None
        for user in merge(*(self.lookup.users_from(path, first, only) for path, only in sources)):
            if user != last:
                yield user
                last = user

    def _sources(self, bucket: int) -> list[tuple[str, Only]]:
        """Sorted lists of the bucket's users: each summary file by modality, and each event file."""
        summaries = bucket_files(self.context.layout.summaries(), bucket, self.window.ds)
        names = [modality.name for modality in self.context.settings.modalities]
        events = {file.path for files in self.event_files.values() for file in files if file.may_hold([bucket])}
        stored: list[tuple[str, Only]] = [(path, ("modality", name)) for path in summaries for name in names]
        return [*stored, *((path, ("bucket", bucket)) for path in sorted(events))]

    def _first(self, bucket: int, sources: Sequence[tuple[str, Only]]) -> str:
        """The user in a row that the hash of the day points to; "" in a bucket without rows."""
        sizes = [(path, only, self.lookup.num_rows(path, only)) for path, only in sources]
        target = self._hash("first user", bucket) % max(sum(sum(groups) for _, _, groups in sizes), 1)
        for path, only, groups in sizes:
            for group, num_rows in enumerate(groups):
                if target < num_rows:
                    users = self.lookup.users_of(path, group, only)
                    return users[target % len(users)] if users else ""
                target -= num_rows
        return ""

    def _hash(self, what: str, number: int) -> int:
        digest = md5(f"verify {what} {number} {self.window.ds}".encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest[:8], "big")
