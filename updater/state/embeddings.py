"""Offline rows: what Feast's offline store reads in place, one Parquet file per feature view, day and bucket."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from updater.domain import columns
from updater.domain.declared.scenario import Scenario
from updater.state.bucket_files import bucket_files
from updater.state.lookup import Lookup
from updater.state.summaries import Summaries

TIMESTAMP = pa.timestamp("us")
"""Naive UTC: Feast prunes row groups by time only on columns without a timezone."""
_KEYS = (columns.JOIN_KEY, columns.EVENT_TIMESTAMP, columns.CREATED_TIMESTAMP, "group", "row")


def scenario_rows(
    scenario: Scenario,
    model_version: str,
    users: Sequence[str],
    embeddings_BE: npt.NDArray[np.float32],
    as_of: datetime,
    created: datetime,
) -> pa.Table:
    """Rows of a scenario's feature view. `embeddings_BE` has shape (len(users), embedding_dim) and is L2-normalized."""
    num_users = len(users)
    flat = pa.array(embeddings_BE.reshape(-1), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(flat, embeddings_BE.shape[1]).cast(pa.list_(pa.float32()))
    return pa.table(
        {
            columns.JOIN_KEY: pa.array(users, pa.string()),
            columns.embedding(scenario.name): vectors,
            columns.as_of(scenario.name): pa.repeat(int(as_of.timestamp()), num_users),
            columns.computed_at(scenario.name): pa.repeat(int(created.timestamp()), num_users),
            columns.model_version(scenario.name): pa.repeat(model_version, num_users),
            **timestamps(num_users, as_of, created),
        }
    )


def summary_rows(
    users: Sequence[str],
    summaries: Mapping[str, Summaries],
    fingerprints: Sequence[str],
    as_of: datetime,
    created: datetime,
) -> pa.Table:
    """Rows of the feature view `modality_summaries`; `summaries` maps modality names to the users' summaries."""
    features: dict[str, pa.Array] = {}
    for name, summary in summaries.items():
        features[columns.num_events(name)] = pa.array(summary.num_events_B)
        features[columns.last_event_at(name)] = pa.array(np.floor(summary.last_event_B), from_pandas=True).cast(
            pa.int64()
        )
    return pa.table(
        {
            columns.JOIN_KEY: pa.array(users, pa.string()),
            **features,
            columns.PREFIX_FINGERPRINT: pa.array(fingerprints, pa.string()),
            **timestamps(len(users), as_of, created),
        }
    )


def timestamps(num_rows: int, as_of: datetime, created: datetime) -> dict[str, pa.Array]:
    """The two columns by which Feast orders rows."""
    return {
        name: pa.repeat(pa.scalar(instant.replace(tzinfo=None), TIMESTAMP), num_rows)
        for name, instant in ((columns.EVENT_TIMESTAMP, as_of), (columns.CREATED_TIMESTAMP, created))
    }


def read_newest(
    root: str,
    bucket: int,
    users: pa.Table,
    last: date | None = None,
    lookup: Lookup | None = None,
    until: datetime | None = None,
) -> pa.Table:
    """The newest offline row of each of `users` (column user_id) in a bucket of the feature view below `root`, by user.

    Rows carry vectors, so first only the keys are read, and then the row groups that hold a newest row.

    Args:
        root: directory of the view.
        bucket: of the users.
        users: whose rows.
        last: files that hold anything after this day are left out, merged ones whole.
        lookup: keeps footers from one call to the next.
        until: rows of later instants (naive UTC) are left out, whatever file they are in.
    """
    lookup = lookup or Lookup()
    wanted = sorted(users[columns.JOIN_KEY].to_pylist())
    newest: dict[str, tuple[tuple[datetime, datetime], str, int, int]] = {}
    for path in bucket_files(root, bucket, last):
        keys = lookup.keys(path, wanted, [columns.EVENT_TIMESTAMP, columns.CREATED_TIMESTAMP])
        for user, instant, created, group, row in zip(*(keys[name].to_pylist() for name in _KEYS), strict=True):
            if until is not None and instant > until:
                continue
            if user not in newest or newest[user][0] < (instant, created):
                newest[user] = ((instant, created), path, group, row)
    rows_of: dict[tuple[str, int], list[int]] = {}
    for _, path, group, row in newest.values():
        rows_of.setdefault((path, group), []).append(row)
    tables = [lookup.at(path, group, rows) for (path, group), rows in rows_of.items()]
    if not tables:
        return pa.table(
            {columns.JOIN_KEY: pa.array([], pa.string()), columns.PREFIX_FINGERPRINT: pa.array([], pa.string())}
        )
    return pa.concat_tables(tables, promote_options="default").sort_by(columns.JOIN_KEY)
