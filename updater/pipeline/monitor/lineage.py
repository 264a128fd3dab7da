"""OpenLineage events of a window: which lake partitions went into which feature views.

Configured as every OpenLineage client is: `OPENLINEAGE_URL`, other `OPENLINEAGE_*` variables, or an `openlineage.yml`.
Without that nothing is imported and nothing happens. A backend that fails costs a warning, never a window.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from updater import __version__
from updater.domain.window import Window
from updater.errors import UpdaterError
from updater.runtime.deployment import Context

JOB = "updater.window"
DEFAULT_NAMESPACE = "updater"
FILE = "openlineage.yml"
CLOSE_SECONDS = 10.0

logger = logging.getLogger(__name__)


def is_configured(environ: Mapping[str, str], directory: Path, home: Path) -> bool:
    """True if an OpenLineage client would find where to send events, by the rules of the client's own documentation.

    Args:
        environ: the environment's variables.
        directory: the working directory.
        home: the user's home directory.
    """
    if environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OPENLINEAGE_URL") or any(name.startswith("OPENLINEAGE__TRANSPORT") for name in environ):
        return True
    named = environ.get("OPENLINEAGE_CONFIG")
    return any(
        path.is_file() for path in (*([Path(named)] if named else []), directory / FILE, home / ".openlineage" / FILE)
    )


@contextmanager
def window_events(context: Context, window: Window, whole: bool = True) -> Iterator[None]:
    """Emit START and then COMPLETE or FAIL around the work on a window; an error inside passes through.

    Args:
        context: the deployment.
        window: the window that is worked on.
        whole: False around work that does not end with the commit, where only a failure is reported.
    """
    if not is_configured(os.environ, Path.cwd(), Path.home()):
        yield
        return
    run = _Run(context, window)
    if whole:
        run.emit("START")
    try:
        yield
    except BaseException as error:
        if not whole:
            run.emit("START")
        run.emit("FAIL", error)
        raise
    else:
        if whole:
            run.emit("COMPLETE")
    finally:
        run.close()


class _Run:
    """One attempt at a window. After the first event that could not be sent it is silent."""

    def __init__(self, context: Context, window: Window) -> None:
        self._context = context
        self._window = window
        self._start = time.perf_counter()
        self._client: Any = None
        self._run_id = ""
        self._failed = False

    def emit(self, state: str, error: BaseException | None = None) -> None:
        """Send an event, or say once why not."""
        if self._failed:
            return
        try:
            if self._client is None:
                self._open()
            self._client.emit(self._event(state, error))
        except ImportError:
            self._give_up("openlineage-python is not installed; run `pip install 'updater[watch]'`")
        except Exception as problem:
            # Any kind: what the transports raise is theirs to decide, and no window is worth less for it.
            self._give_up(f"{type(problem).__name__}: {problem}")

    def close(self) -> None:
        """Let a transport that sends in the background finish, for a while."""
        if self._client is not None:
            try:
                self._client.close(CLOSE_SECONDS)
            except Exception as problem:
                self._give_up(f"{type(problem).__name__}: {problem}")

    def _give_up(self, why: str) -> None:
        self._failed = True
        logger.warning("OpenLineage got no event of %s: %s.", self._window, why)

    def _open(self) -> None:
        from openlineage.client import OpenLineageClient
        from openlineage.client.uuid import generate_new_uuid

        self._client = OpenLineageClient()
        self._run_id = str(generate_new_uuid(self._context.now))

    def _event(self, state: str, error: BaseException | None) -> Any:
        from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
        from openlineage.client.facet_v2 import error_message_run, nominal_time_run

        # The context's clock was read once; what passed since is measured, not read off another clock.
        now = self._context.now + timedelta(seconds=time.perf_counter() - self._start)
        facets: dict[str, Any] = {
            "nominalTime": nominal_time_run.NominalTimeRunFacet(
                self._window.start.isoformat(), self._window.as_of.isoformat()
            )
        }
        if error is not None:
            # Only our own messages are known to hold no secrets.
            message = str(error) if isinstance(error, UpdaterError) else type(error).__name__
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "PYTHON")
        return RunEvent(
            eventTime=now.isoformat(),
            producer=f"urn:updater:{__version__}",
            eventType=RunState[state],
            run=Run(self._run_id, facets),
            job=Job(os.environ.get("OPENLINEAGE_NAMESPACE") or DEFAULT_NAMESPACE, JOB),
            inputs=[InputDataset(*dataset(path)) for path in lake_partitions(self._context, self._window)],
            outputs=[OutputDataset(*view) for view in feature_views(self._context)],
        )


def lake_partitions(context: Context, window: Window) -> list[str]:
    """Paths of the partitions that the window took in; before it took in any, of those that must have landed."""
    first = None if context.first_window() == window.ds else window.ds
    records = context.ledger.partitions(from_date=first, to_date=window.ds)
    required = [modality.name for modality in context.settings.modalities if not modality.optional]
    return [context.lake(r.modality, r.ds) for r in records] or [context.lake(name, window.ds) for name in required]


def feature_views(context: Context) -> list[tuple[str, str]]:
    """Namespace and name of each feature view, as Feast's own OpenLineage events have them."""
    from updater.store.repository.config import PROJECT

    return [(PROJECT, view) for view in context.feature_views()]


def dataset(path: str) -> tuple[str, str]:
    """Namespace and name of a directory by OpenLineage's naming: `file` and its path, or `s3://bucket` and its key."""
    if "://" not in path:
        return "file", path
    url = urlsplit(path)
    return f"{url.scheme}://{url.netloc}", url.path.lstrip("/") if url.netloc else url.path
