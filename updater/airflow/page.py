"""The application that serves a deployment's page, and nothing else.

What reads the state is imported when somebody asks, because every component of Airflow loads the plugins.
"""

from dataclasses import asdict
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from updater.airflow.login import login_url, may_read_dag
from updater.errors import UpdaterError

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""The page loads nothing, runs no script, stands in Airflow's frame alone, and is looked up each time."""
UNAVAILABLE = 503


def page_app(config: str | None, dag_id: str, title: str) -> FastAPI:
    """The application of one deployment: `/` is the page, `/report.json` what it is made of.

    `?plan=true` plans the next day. One request after the other looks at the state, on a thread of its own, so that
    those who wait take none of the API server's.

    Args:
        config: the deployment's config file; None for the one that UPDATER_CONFIG names.
        dag_id: whoever may read this DAG may ask.
        title: the deployment's name, for the page that says what is wrong.
    """
    app = FastAPI(
        title=title,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(may_read_dag(dag_id))],
    )
    turns = CapacityLimiter(1)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, refused: HTTPException) -> Response:
        if refused.status_code == 401 and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(login_url(str(request.url)))
        return JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)

    @app.get("/")
    async def page(plan: bool = False) -> HTMLResponse:
        try:
            made = await to_thread.run_sync(_page, config, plan, limiter=turns)
        except UpdaterError as error:
            return HTMLResponse(_refused(title, error), UNAVAILABLE, HEADERS)
        return HTMLResponse(made, headers=HEADERS)

    @app.get("/report.json")
    async def facts(plan: bool = False) -> JSONResponse:
        try:
            found = await to_thread.run_sync(_facts, config, plan, limiter=turns)
        except UpdaterError as error:
            return JSONResponse({"detail": str(error)}, UNAVAILABLE, HEADERS)
        return JSONResponse(jsonable_encoder(asdict(found)), headers=HEADERS)

    return app


def _facts(config: str | None, plan: bool) -> Any:
    from updater.report.facts import collect
    from updater.runtime.deployment import open_context
    from updater.settings import load_settings

    return collect(open_context(load_settings(config)), plan=plan)


def _page(config: str | None, plan: bool) -> str:
    from updater.report.html import render
    from updater.report.view import view

    return render(view(_facts(config, plan)), plan_link="?plan=true")


def _refused(title: str, error: UpdaterError) -> str:
    from updater.report.html import render_error

    return render_error(title, str(error))
