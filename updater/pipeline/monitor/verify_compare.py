"""What a verification found, and the comparisons of rebuilt values with stored ones."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.errors import VerificationError
from updater.lake import partitions
from updater.profile.profile import Profile
from updater.state.profiles import profile_columns
from updater.state.summaries import Summaries

EARLIER_FINGERPRINT = re.compile("([23]-)?[0-9a-f]{32}")
"""Of a prefix, by a recipe whose result depended on the type of the processor."""


@dataclass(frozen=True)
class VerifyReport:
    """What was compared, and what differed. Reports of one window add up."""

    ds: str
    users: int = 0
    summaries: int = 0
    embeddings: int = 0
    profiles: int = 0
    """Textual profiles written again and compared to the byte."""
    online_values: int = 0
    texts: int = 0
    """Texts encoded again and compared bit for bit."""
    partitions: int = 0
    """Partitions of the lake that were read again and compared with the event files, row by row."""
    bytes_read: int = 0
    """Of the lake and of the state's Parquet files; 0 if all users were verified, which reads all of them."""
    max_embedding_difference: float = 0.0
    awaited: Sequence[str] = field(default_factory=list)
    """Scenarios, and `user_text_profile`, that are not compared: config or release changed how they are made, and the
    next window makes them anew."""
    differences: Sequence[str] = field(default_factory=list)
    """One sentence per difference."""

    def __add__(self, other: "VerifyReport") -> "VerifyReport":
        return VerifyReport(
            ds=self.ds,
            users=self.users + other.users,
            summaries=self.summaries + other.summaries,
            embeddings=self.embeddings + other.embeddings,
            profiles=self.profiles + other.profiles,
            online_values=self.online_values + other.online_values,
            texts=self.texts + other.texts,
            partitions=self.partitions + other.partitions,
            bytes_read=self.bytes_read + other.bytes_read,
            max_embedding_difference=max(self.max_embedding_difference, other.max_embedding_difference),
            awaited=sorted({*self.awaited, *other.awaited}),
            differences=[*self.differences, *other.differences],
        )


def raise_if_different(report: VerifyReport) -> None:
    """Raise VerificationError if anything differed."""
    if report.differences:
        raise VerificationError(
            f"{len(report.differences)} differences at {report.ds}, first: {report.differences[0]} "
            "See `updater state verify --json` for all; `updater status` lists partitions that were "
            "rewritten after they had been processed.",
            findings=report.differences,
        )


def some_texts(paths: Sequence[str], most: int) -> pa.Table | None:
    """Of the texts (text_id, text) of event files the first `most`; None without any."""
    chosen: pa.Table | None = None
    for path in paths if most else ():
        rows = partitions.read_table(path, ["text_id", "text", "deleted"])
        rows = rows.filter(pc.invert(rows["deleted"])).select(["text_id", "text"])
        chosen = first_texts([rows] if chosen is None else [chosen, rows], most)
    return chosen


def first_texts(tables: Sequence[pa.Table], most: int) -> pa.Table | None:
    """Of distinct texts those with the smallest ids: ids are hashes, so that is fair."""
    if not tables:
        return None
    texts = pa.concat_tables(tables).group_by(["text_id", "text"]).aggregate([]).sort_by("text_id")
    return texts.slice(0, most).combine_chunks()


def different_rows(one: Summaries, other: Summaries) -> Sequence[int]:
    """Rows in which two summaries are not the same to the bit."""
    different = np.zeros(len(one.num_events_B), bool)
    for name, values in vars(one).items():
        mine = np.ascontiguousarray(values).reshape(len(different), -1)
        theirs = np.ascontiguousarray(getattr(other, name)).reshape(len(different), -1)
        same = (mine == theirs) & (np.signbit(mine) == np.signbit(theirs))
        different |= ~(same | (np.isnan(mine) & np.isnan(theirs))).all(axis=1)
    return np.flatnonzero(different).tolist()


def compare_embeddings(
    ds: str, scenario: str, names: list[str], rebuilt: Any, rows: pa.Table, tolerance: float
) -> VerifyReport:
    """Published `rows` of a scenario against the rebuilt embeddings of the users `names`."""
    found = {user: row for row, user in enumerate(rows[columns.JOIN_KEY].to_pylist())}
    distances: list[float] = []
    differences = []
    for row, user in enumerate(names):
        if user not in found:
            differences.append(f"User {user!r} has no published {scenario} embedding.")
            continue
        stored = np.asarray(rows[columns.embedding(scenario)][found[user]].as_py(), np.float32)
        distances.append(float(np.abs(stored - rebuilt[row]).max()))
        if not distances[-1] <= tolerance:
            differences.append(
                f"The {scenario} embedding of user {user!r} differs from its rebuild by {distances[-1]:.1e}."
            )
    furthest = max([0.0, *distances])
    return VerifyReport(ds, embeddings=len(distances), max_embedding_difference=furthest, differences=differences)


def compare_profiles(ds: str, names: list[str], rebuilt: Sequence[Profile], rows: pa.Table) -> VerifyReport:
    """Published `rows` of the textual profile against those of the users `names` that were written again."""
    found = {user: row for row, user in enumerate(rows[columns.JOIN_KEY].to_pylist())}
    expected = profile_columns(rebuilt)
    stored = {
        name: rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows for name in expected
    }
    differences = []
    for row, user in enumerate(names):
        if user not in found:
            differences.append(f"User {user!r} has no published profile.")
            continue
        wrong = [name for name, values in expected.items() if stored[name][found[user]] != values[row].as_py()]
        differences += [f"The {name} of user {user!r} differs from its rebuild." for name in wrong]
    return VerifyReport(ds, profiles=len(found), differences=differences)


def compare_fingerprints(names: list[str], marks: Sequence[str], rows: pa.Table) -> list[str]:
    """A sentence for each user whose published row is not of the rebuilt prefix.

    Fingerprints of earlier recipes are not made any more; of such a row only what it was made from is compared.

    Args:
        names: users.
        marks: fingerprints of their rebuilt prefixes.
        rows: published.
    """
    stored = dict(zip(rows[columns.JOIN_KEY].to_pylist(), rows[columns.PREFIX_FINGERPRINT].to_pylist(), strict=True))
    return [
        f"The prefix of user {user!r} differs from its rebuild."
        for user, mark in zip(names, marks, strict=True)
        if stored.get(user) != mark and not EARLIER_FINGERPRINT.fullmatch(stored.get(user) or "")
    ]
