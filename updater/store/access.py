"""What the pipeline, training and serving do with the feature store."""

import builtins
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pandas as pd
from feast import FeatureService, FeatureStore

from updater.domain import columns
from updater.domain.window import Window
from updater.settings import Settings
from updater.store.feast_internals import print_with
from updater.store.repository.connecting import explained, open_store
from updater.store.repository.deployment import check_source

USERS_PER_READ = 1_000
_ROW_NUMBER = "__row"
_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


def materialize(
    target: Settings | FeatureStore, window: Window, views: Sequence[str], first: Window | None = None
) -> dict[str, int]:
    """Load the offline rows with event_timestamp = `window.as_of` into the online store.

    Doing it again, or after a newer window, changes nothing that is newer.

    Args:
        target: the deployment, or its open feature store.
        window: the window whose rows are loaded.
        views: feature views.
        first: load each user's newest row of the windows from this one to `window`.

    Returns:
        Rows read, by feature view.

    Raises:
        ConfigError: a view is not registered.
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    if not views:
        return {}
    store = open_store(target) if isinstance(target, Settings) else target
    with explained(store.config), _quiet():
        store.materialize((first or window).as_of, window.as_of, feature_views=list(views))
    num_rows = store.provider.batch_engine.num_rows
    return {view: num_rows[view] for view in views}


def online_rows(store: FeatureStore, user_ids: Sequence[str], features: Sequence[str] | str) -> dict[str, list[Any]]:
    """What serving sees: one list per feature in the order of `user_ids`, null where nothing is stored.

    Args:
        store: An open feature store.
        user_ids: Users to read.
        features: References such as `lapse_v1:lapse_embedding`, or the name of one feature service.

    Raises:
        ConfigError: a feature is not registered.
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    rows: dict[str, list[Any]] = {}
    with explained(store.config):
        wanted = _wanted(store, features)
        for start in range(0, len(user_ids), USERS_PER_READ):
            chunk = [{columns.JOIN_KEY: user_id} for user_id in user_ids[start : start + USERS_PER_READ]]
            for name, values in store.get_online_features(wanted, chunk).to_dict().items():
                rows.setdefault(name, []).extend(values)
    return rows


def historical_rows(store: FeatureStore, entity_df: pd.DataFrame, features: Sequence[str] | str) -> pd.DataFrame:
    """What training sees: each row of `entity_df` with the features as they were at its `event_timestamp`.

    Args:
        store: An open feature store.
        entity_df: Columns `user_id`, `event_timestamp` (naive means UTC) and any labels.
        features: References such as `lapse_v1:lapse_embedding`, or the name of one feature service.

    Returns:
        The rows in the order of `entity_df`, with its index.

    Raises:
        ConfigError: a feature is not registered, or its view has no offline rows yet.
        ServiceUnavailableError: the registry does not answer.
    """
    numbered = entity_df.assign(
        **{columns.EVENT_TIMESTAMP: pd.to_datetime(entity_df[columns.EVENT_TIMESTAMP], utc=True)}
    )
    numbered[_ROW_NUMBER] = range(len(entity_df))
    with explained(store.config):
        wanted = _wanted(store, features)
        names = [reference.partition(":")[0] for reference in wanted] if isinstance(wanted, list) else []
        for projection in getattr(wanted, "feature_view_projections", ()):
            names.append(projection.name)
        for view in dict.fromkeys(names):
            check_source(store.config, store.get_feature_view(view))
        joined = store.get_historical_features(numbered, wanted).to_df()
    ordered: pd.DataFrame = joined.sort_values(_ROW_NUMBER).drop(columns=_ROW_NUMBER).set_index(entity_df.index)
    return ordered


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Feast prints as progress off standard output, here and in no other thread."""
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)


def _print(*values: Any, **options: Any) -> None:
    if not _QUIET.get():
        builtins.print(*values, **options)  # noqa: T201


print_with(_print)


def _wanted(store: FeatureStore, features: Sequence[str] | str) -> list[str] | FeatureService:
    return store.get_feature_service(features) if isinstance(features, str) else list(features)
