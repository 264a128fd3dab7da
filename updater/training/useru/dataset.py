"""The training data on disk: a Parquet file per anchor day and bucket, each row with where it comes from.

`<root>/ds=<anchor day>/bucket-NNN.parquet`, and `_SUCCESS` once all buckets of the day are there. A file that was made
by the same recipe from the same event files is left alone, so a run that was cut short is run again.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from updater.domain.erasure import Erased
from updater.domain.fingerprint import fingerprint
from updater.domain.window import first_buffer_day
from updater.errors import ConfigError, DataRefusedError, NotLandedError
from updater.lake import partitions
from updater.settings import Settings
from updater.state.event_store import EventFile, connect
from updater.training.useru.answers import Generator
from updater.training.useru.facts.events import EventReader
from updater.training.useru.facts.topics import Topic
from updater.training.useru.rows import rows_of_bucket

logger = logging.getLogger(__name__)

RECIPE_VERSION = 4
"""Raised whenever the same events give other rows."""
_RECIPE, _REFUSED = b"recipe", b"num_refused"
_INSTANT = pa.timestamp("us", "UTC")

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("anchor_day", pa.date32()),
        ("split", pa.string()),
        ("generator", pa.string()),
        ("topic", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("claims", pa.string()),
        ("num_repaired", pa.int64()),
        ("num_dropped", pa.int64()),
        ("profile_start", _INSTANT),
        ("profile_end", _INSTANT),
        ("future_start", _INSTANT),
        ("future_end", _INSTANT),
    ]
)
"""One question-answer pair. The future's bounds are null where the answer is about the profile alone."""

SplitName = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class DatedSplit:
    """Which anchor days train and which are held back: a split's rows are about nothing after the next begins."""

    valid_from: date
    test_from: date

    def __post_init__(self) -> None:
        if self.valid_from > self.test_from:
            raise ConfigError(f"valid_from {self.valid_from} lies after test_from {self.test_from}; swap them.")

    def of(self, anchor: date, future_days: int) -> SplitName | None:
        """The split of an anchor day; None if its future reaches into the next split."""
        last = anchor + timedelta(days=future_days)
        if anchor >= self.test_from:
            return "test"
        if anchor >= self.valid_from:
            return "valid" if last < self.test_from else None
        return "train" if last < self.valid_from else None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides on rows beyond the events."""

    split: DatedSplit
    pool: tuple[Topic, ...]
    vocabulary: frozenset[str]
    """Every category name of the lake."""
    common: tuple[tuple[str, str], ...] = ()
    """Pairs of a modality and a category, most frequent first: what questions about the future may name."""
    never_asked: frozenset[tuple[str, str]] = frozenset()
    """Pairs that no question about the future names, so that they can show what a new question does."""
    future_days: int = 28
    users_share: float = 1.0
    """Share of the users that rows are made of."""

    def __post_init__(self) -> None:
        if self.future_days < 1:
            raise ConfigError(f"future_days is {self.future_days}; use 1 or more.")


@dataclass(frozen=True)
class Built:
    """One anchor day of the data set."""

    anchor: date
    split: SplitName
    num_rows: int
    num_refused: int
    """Rows that the guard refused."""


def build(
    root: str,
    settings: Settings,
    files: Mapping[str, Sequence[EventFile]],
    landed: tuple[date, date],
    anchors: Sequence[date],
    generator: Generator,
    recipe: Recipe,
    buckets: Collection[int] = (),
    *,
    no_erasure: Callable[[], AbstractContextManager[Erased]],
) -> list[Built]:
    """Write the rows of each anchor day: one about the future of every user with a profile, and the generator's.

    Several processes may share an anchor day's buckets; it is finished when all of them are there.

    Args:
        root: directory or URL of the data set.
        settings: the config that the events landed with.
        files: event files per modality.
        landed: first and last day between which every modality has landed.
        anchors: last days of profiles; one whose future reaches into the next split is left out.
        generator: of the answers about profiles; reflection follows.
        recipe: the rest.
        buckets: those whose rows are written and counted; all if empty.
        no_erasure: holds off erasures while a file is written, and says who was erased before: their rows, which may
            have been read earlier, are left out.

    Raises:
        NotLandedError: the profile or the future of an anchor day reaches beyond the landed days.
    """
    built = []
    with connect(settings.paths.state) as connection:
        reader = EventReader(connection, settings, files, recipe.users_share)
        for anchor in anchors:
            last = anchor + timedelta(days=recipe.future_days)
            _check_landed(first_buffer_day(anchor, settings.buffer.days), last, landed, anchor)
            split = recipe.split.of(anchor, recipe.future_days)
            if split is None:
                logger.info("%s is left out: its future reaches into the next split", anchor)
                continue
            mark = _mark(settings, files, last, generator, recipe)
            directory = partitions.day_directory(root, anchor)
            paths = [partitions.join(directory, f"bucket-{n:03d}.parquet") for n in range(settings.buffer.num_buckets)]
            counts = [_counts(path, mark) for path in paths]
            if None in counts:
                partitions.remove(partitions.join(directory, partitions.SUCCESS))
            chosen = sorted(buckets) or [*range(len(paths))]
            for bucket in chosen:
                if counts[bucket] is None:
                    rows, num_refused = rows_of_bucket(reader, anchor, bucket, generator, recipe, split)
                    with no_erasure() as erased:
                        gone = erased.among({row["user_id"] for row in rows})
                        kept = [row for row in rows if row["user_id"] not in gone]
                        counts[bucket] = _write(paths[bucket], kept, num_refused, mark)
            # Whoever writes the last one finds all of them.
            if all(_counts(path, mark) for path in paths):
                partitions.mark_success(root, anchor)
            done = [count for bucket in chosen if (count := counts[bucket]) is not None]
            num_rows, num_refused = (sum(each) for each in zip(*done, strict=True))
            built.append(Built(anchor, split, num_rows, num_refused))
            logger.info("%s: %s rows (%s)", anchor, num_rows, split)
    return built


def read_split(root: str, split: SplitName) -> pa.Table:
    """Rows of a split from all finished anchor days, oldest first.

    Raises:
        DataRefusedError: a row's profile touches its future window.
    """
    tables = [SCHEMA.empty_table()]
    for ds in partitions.landed_days(root):
        for path in partitions.list_files(partitions.day_directory(root, ds)):
            table = partitions.read_table(path).replace_schema_metadata()
            check_windows(table, path)
            tables.append(table.filter(pc.equal(table["split"], split)))
    return pa.concat_tables(tables)


def has_split(root: str, split: SplitName) -> bool:
    """True if any finished anchor day has a row of a split; reads no more than it has to."""
    for ds in partitions.landed_days(root):
        for path in partitions.list_files(partitions.day_directory(root, ds)):
            if pc.any(pc.equal(partitions.read_table(path, ["split"])["split"], split)).as_py():
                return True
    return False


def check_windows(table: pa.Table, name: str) -> None:
    """Raise DataRefusedError if any row's profile touches its future window."""
    ends, starts = table["profile_end"].to_pylist(), table["future_start"].to_pylist()
    for number, (end, start) in enumerate(zip(ends, starts, strict=True)):
        if start is not None and end > start:
            raise DataRefusedError(
                f"Row {number} of {name} has a profile that ends at {end}, after its future begins at {start}; "
                "remove the file and build it again."
            )


def _check_landed(first: date, last: date, landed: tuple[date, date], anchor: date) -> None:
    """Days without a log would be taken for days without events."""
    if first < landed[0] or last > landed[1]:
        raise NotLandedError(
            f"Anchor day {anchor} needs the days from {first} to {last}, but those from {landed[0]} to {landed[1]} "
            "have landed; choose another anchor day."
        )


def _mark(
    settings: Settings, files: Mapping[str, Sequence[EventFile]], last: date, generator: Generator, recipe: Recipe
) -> bytes:
    """Digest of all that decides on the rows of an anchor day whose future ends on `last`."""
    events = {
        name: sorted((file.ds, file.path.rsplit("/", 1)[-1]) for file in landed if file.ds <= last)
        for name, landed in files.items()
    }
    declared = [settings.modality_fingerprint(modality.name) for modality in settings.modalities]
    buffer = settings.timezone, settings.buffer.days, settings.buffer.num_buckets
    topics = [asdict(topic) for topic in recipe.pool]
    names = sorted(recipe.vocabulary), recipe.common, sorted(recipe.never_asked)
    made_with = asdict(recipe.split), topics, names
    # All users are no part of it, so that data that was built before there was a share stands.
    share = [recipe.users_share] if recipe.users_share < 1 else []
    parts = RECIPE_VERSION, generator.version, recipe.future_days, made_with, declared, buffer, events, *share
    return fingerprint(*parts).encode()


def _counts(path: str, mark: bytes) -> tuple[int, int] | None:
    """Rows written and rows refused of a file made with `mark`; None if it has to be made."""
    if not partitions.exists(path):
        return None
    fs, inner = partitions.filesystem(path)
    with fs.open(inner, "rb") as file:
        found = pq.read_metadata(file)
    metadata = found.metadata or {}
    return (found.num_rows, int(metadata[_REFUSED])) if metadata.get(_RECIPE) == mark else None


def _write(path: str, rows: list[dict[str, Any]], num_refused: int, mark: bytes) -> tuple[int, int]:
    table = pa.Table.from_pylist(rows, SCHEMA)
    check_windows(table, path)
    partitions.write_table(path, table.replace_schema_metadata({_RECIPE: mark, _REFUSED: str(num_refused)}))
    return len(rows), num_refused
