"""What examples and notebooks share: the demo, labels and counts out of its lake, the split of users, two metrics."""

import os
import warnings
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

import updater
from updater.api import Deployment
from updater.domain import buckets
from updater.objects.duckdb_progress import without_progress_bar

ROOT = Path(__file__).resolve().parents[1]

DAYS = 7
# Ends of two daily windows of the demo. The labels of the first are known when the features of the second are.
TRAIN, TEST = (pd.Timestamp(day, tz="America/New_York") for day in ("2017-07-01", "2017-07-08"))

# One row per user with an event of a modality in [start, as_of): did the user have one of the target in [as_of, end)?
_LABELS = """
    select distinct user_id, user_id in (
        select user_id from read_parquet($target_files, hive_partitioning = false)
        where event_time >= $as_of and event_time < $end
    ) as label
    from read_parquet($files, hive_partitioning = false)
    where event_time >= $start and event_time < $as_of
    order by user_id"""

_USERS = """
    select distinct user_id from read_parquet($files, hive_partitioning = false)
    where event_time >= $start and event_time < $as_of order by user_id"""

# Events of one modality within the last week, four weeks and 90 days, days since the newest, and money spent.
_COUNTS = """
    select frame.user_id, frame.event_timestamp,
        count(*) filter (event_time >= frame.event_timestamp - interval 7 day) as last_7,
        count(*) filter (event_time >= frame.event_timestamp - interval 28 day) as last_28,
        count(event_time) as last_90,
        coalesce(date_diff('day', max(event_time), any_value(frame.event_timestamp)), 90) as days_ago,
        greatest(coalesce(sum({amount}), 0), 0) as money
    from frame left join read_parquet($files, hive_partitioning = false) as event
        on event.user_id = frame.user_id and event_time < frame.event_timestamp
        and event_time >= frame.event_timestamp - interval 90 day
    group by all order by frame.event_timestamp, frame.user_id"""


def demo() -> Deployment:
    """The demo's deployment, or that of the config that UPDATER_CONFIG names.

    Raises:
        FileNotFoundError: it has no state.
    """
    deployment = updater.open(os.environ.get("UPDATER_CONFIG") or ROOT / "configs" / "demo.toml")
    if not Path(deployment.settings.paths.state, "feature_store.yaml").exists():
        raise FileNotFoundError(f"{deployment.settings.paths.state} holds no state; run `make demo`.")
    # Feast's DuckDB reader uses an older name of a DuckDB function.
    warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
    return deployment


def did_lately(lake: str, as_of: pd.Timestamp, modality: str, days: int) -> pd.DataFrame:
    """The `user_id` of everybody with an event of a modality in the `days` up to `as_of`."""
    parameters = {"files": f"{lake}/{modality}/*/*.parquet", "start": as_of - timedelta(days=days), "as_of": as_of}
    with without_progress_bar(duckdb.connect()) as connection:
        return connection.execute(_USERS, parameters).df()


def did_later(lake: str, as_of: pd.Timestamp, modality: str, before: int, target: str, after: int) -> pd.DataFrame:
    """An entity dataframe for `get_historical_features`: `user_id`, `event_timestamp` and a boolean `label`.

    Args:
        lake: the event lake.
        as_of: the end of a local day, when features become known; everything that the label looks at is later.
        modality: a user counts who had an event of it in the `before` days up to `as_of`.
        target: the label says whether there was an event of it in the `after` days from `as_of` on.
    """
    parameters = {
        "files": f"{lake}/{modality}/*/*.parquet",
        "target_files": f"{lake}/{target}/*/*.parquet",
        "start": as_of - timedelta(days=before),
        "as_of": as_of,
        "end": as_of + timedelta(days=after),
    }
    with without_progress_bar(duckdb.connect()) as connection:
        frame = connection.execute(_LABELS, parameters).df()
    return frame.assign(event_timestamp=as_of.tz_convert("UTC"))


def recency_frequency_money(lake: str, frame: pd.DataFrame, amounts: Mapping[str, str]) -> np.ndarray:
    """What plain counts say of each row at its time, without any model: (rows, 5 × modalities), as logarithms.

    Args:
        lake: the event lake.
        frame: `user_id` and `event_timestamp`, a row per user and time.
        amounts: for each modality its column with money, or "0".
    """
    parts = []
    with without_progress_bar(duckdb.connect()) as connection:
        connection.register("frame", frame[["user_id", "event_timestamp"]])
        for modality, amount in amounts.items():
            query = _COUNTS.format(amount=amount)
            counts = connection.execute(query, {"files": f"{lake}/{modality}/*/*.parquet"}).df()
            # DuckDB gives instants back in a unit and a timezone of its own.
            counts["event_timestamp"] = counts["event_timestamp"].astype(frame["event_timestamp"].dtype)
            merged = frame[["user_id", "event_timestamp"]].merge(counts, how="left", validate="one_to_one")
            parts.append(np.log1p(merged.iloc[:, 2:].to_numpy(np.float32)))
    return np.hstack(parts)


def is_held_out(users: pd.Series) -> pd.Series:
    """True for a fifth of the users, always the same ones: a model is tested on users that it was not trained on."""
    return users.map(buckets.is_held_out)


def auc_and_ks(label: pd.Series, scores: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, and the largest distance between true and false positive rate."""
    false_rate, true_rate, _ = roc_curve(label, scores)
    return roc_auc_score(label, scores), max(true_rate - false_rate)
