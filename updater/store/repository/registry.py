"""What Feast's SQL registry leaves behind when a project is torn down."""

from typing import Any

from feast.infra.registry.sql import SqlRegistry, feature_view_version_history, feature_views
from sqlalchemy import delete, exists, select

_HISTORY = feature_view_version_history.c


def forget_versions(registry: Any, project: str, views_too: bool = False) -> None:
    """Delete the history of feature views that are not registered, or with `views_too` of all of them.

    `feast teardown` deletes the views and keeps their history, and a view that is registered again then collides with
    its own first version.
    """
    if not isinstance(registry, SqlRegistry):
        return
    registered = select(feature_views.c.feature_view_name).where(
        feature_views.c.feature_view_name == _HISTORY.feature_view_name,
        feature_views.c.project_id == _HISTORY.project_id,
    )
    statement = delete(feature_view_version_history).where(_HISTORY.project_id == project)
    with registry.write_engine.begin() as connection:
        connection.execute(statement if views_too else statement.where(~exists(registered)))
