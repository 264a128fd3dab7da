"""The page of `updater report` in Airflow: what a file of Airflow's plugins folder calls.

    from updater.airflow.plugin import report_plugin

    shop = report_plugin(config="/srv/shop/updater.toml", name="shop", dag_id="shop_daily_update")

The API server serves it, to whoever has logged in and may read the DAG.
"""

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from fastapi import FastAPI

PREFIX = "/updater"
"""Where the API server mounts the pages."""


class _Page:
    """The application, made when the API server is asked for it: other components load plugins too, and serve nothing.

    Args:
        config, dag_id, title: see `page_app`.
    """

    def __init__(self, config: str | None, dag_id: str, title: str) -> None:
        self._arguments = config, dag_id, title
        self._app: FastAPI | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._app is None:
            from updater.airflow.page import page_app

            self._app = page_app(*self._arguments)
        await self._app(scope, receive, send)


def report_plugin(
    config: str | None = None, name: str = "updater", dag_id: str = "daily_update", title: str | None = None
) -> type[AirflowPlugin]:
    """A plugin with the page of one deployment; an Airflow has as many as there are deployments.

    Args:
        config: the deployment's config file; None for the one that UPDATER_CONFIG names on the API server.
        name: tells the deployment's address from those of others: `/updater/<name>/`.
        dag_id: whoever may read this DAG may see the page.
        title: what the navigation calls it; the name if left out.
    """
    base = f"{PREFIX}/{name}"
    shown = title or name
    members: dict[str, Any] = {
        "name": f"updater_{name}",
        "fastapi_apps": [{"name": shown, "app": _Page(config, dag_id, shown), "url_prefix": base}],
        "external_views": [
            # Without a slash before it, the address is below the API server's own, wherever that is mounted.
            {
                "name": shown,
                "href": f"{base.lstrip('/')}/",
                "url_route": f"updater_{name}",
                "destination": "nav",
            }
        ],
    }
    return type(f"UpdaterReport_{name}", (AirflowPlugin,), members)
