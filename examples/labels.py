"""What both examples share: labels out of the event lake, the split into train and test, and the two metrics."""

from datetime import timedelta

import duckdb
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

from updater.domain import buckets

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
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false")
        frame = connection.execute(_LABELS, parameters).df()
    return frame.assign(event_timestamp=as_of.tz_convert("UTC"))


def is_held_out(users: pd.Series) -> pd.Series:
    """True for a fifth of the users, always the same ones: a model is tested on users that it was not trained on."""
    return users.map(buckets.is_held_out)


def auc_and_ks(label: pd.Series, scores: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, and the largest distance between true and false positive rate."""
    false_rate, true_rate, _ = roc_curve(label, scores)
    return roc_auc_score(label, scores), max(true_rate - false_rate)
