"""OpenLineage events of a window, received by a real HTTP server on loopback."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.deployment import Deployment
from tests.watched import DAYS, land
from updater.errors import NotLandedError, WindowOrderError
from updater.pipeline import steps
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.monitor.lineage import dataset, is_configured
from updater.runtime.process_pool import ProcessPool


@dataclass
class Backend:
    """A lineage backend that keeps what it gets."""

    url: str
    status: int = 201
    events: list[dict[str, Any]] = field(default_factory=list)

    def reported(self) -> list[tuple[str, str]]:
        """State and landing day of each event, in order."""
        return [(e["eventType"], e["run"]["facets"]["nominalTime"]["nominalStartTime"][:10]) for e in self.events]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Backend]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.events.append(event)
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Backend(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever)
    thread.start()
    # The client turns OPENLINEAGE_URL into further variables, which must not outlive the test.
    for name in ("URL", "TYPE"):
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__TRANSPORTS__DEFAULT_HTTP__{name}", "")
        monkeypatch.delenv(f"OPENLINEAGE__TRANSPORT__TRANSPORTS__DEFAULT_HTTP__{name}")
    monkeypatch.setenv("OPENLINEAGE_URL", made.url)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    made = Deployment.create(tmp_path / "deployment")
    for ds in DAYS[:2]:
        land(made.lake, ds)
    return made


def test_a_window_reports_what_it_read_and_what_it_wrote(made: Deployment, backend: Backend) -> None:
    made.run(DAYS[:2])
    assert backend.reported() == [(state, str(ds)) for ds in DAYS[:2] for state in ("START", "COMPLETE")]
    start, complete = backend.events[2:]
    assert start["run"]["runId"] == complete["run"]["runId"] != backend.events[0]["run"]["runId"]
    assert start["eventTime"] <= complete["eventTime"]
    assert (complete["job"]["namespace"], complete["job"]["name"]) == ("updater", "updater.window")
    partitions = [f"{made.lake}/{name}/ds={DAYS[1]}" for name in ("bill", "search")]
    assert [(d["namespace"], d["name"]) for d in complete["inputs"]] == [("file", path) for path in partitions]
    assert all(Path(path).is_dir() for path in partitions)
    views = ["lapse_v1", "takeout_v1", "modality_summaries"]
    assert [(d["namespace"], d["name"]) for d in complete["outputs"]] == [("updater", view) for view in views]
    assert complete["run"]["facets"]["nominalTime"]["nominalEndTime"].startswith("2024-03-03T00:00:00")


def test_the_first_window_took_in_all_days_of_its_buffer(made: Deployment, backend: Backend) -> None:
    made.run(DAYS[1:2])
    names = [d["name"].removeprefix(f"{made.lake}/") for d in backend.events[-1]["inputs"]]
    assert names == [f"{name}/ds={ds}" for ds in DAYS[:2] for name in ("bill", "search")]


def test_a_window_that_fails_reports_why(made: Deployment, backend: Backend) -> None:
    made.run(DAYS[:2])
    backend.events.clear()
    with pytest.raises(NotLandedError):
        made.run(DAYS[2:3])
    assert backend.reported() == [("START", str(DAYS[2])), ("FAIL", str(DAYS[2]))]
    assert "has not landed" in backend.events[-1]["run"]["facets"]["errorMessage"]["message"]


def test_a_window_that_is_done_reports_nothing(made: Deployment, backend: Backend) -> None:
    made.run(DAYS[:1])
    backend.events.clear()
    made.run(DAYS[:1])
    assert backend.events == []


def test_a_backfill_reports_each_window(made: Deployment, backend: Backend) -> None:
    with ProcessPool(made.settings, made.now) as pool, pytest.raises(NotLandedError):
        backfill(made.context, pool, DAYS[0], DAYS[2])
    days = [str(ds) for ds in DAYS[:3]]
    assert backend.reported() == [
        ("START", days[2]),
        ("FAIL", days[2]),
        *((state, ds) for ds in days[:2] for state in ("START", "COMPLETE")),
    ]


def test_airflows_steps_report_the_commit_and_what_fails(
    made: Deployment, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPDATER_CONFIG", str(made.settings.source))
    ds = str(DAYS[0])
    for name in ("bill", "search", "app"):
        steps.detect(ds, name)
        steps.encode(ds, name)
    steps.refresh(ds, [0])
    steps.publish(ds)
    assert backend.events == []
    steps.materialize(ds)
    assert backend.reported() == [("START", ds), ("COMPLETE", ds)]
    with pytest.raises(WindowOrderError):
        steps.detect(str(DAYS[2]), "bill")
    assert backend.reported()[2:] == [("START", str(DAYS[2])), ("FAIL", str(DAYS[2]))]


@pytest.mark.parametrize("trouble", ["refuses", "is gone", "is not installed"])
def test_a_backend_that_fails_costs_one_warning_and_no_window(
    trouble: str, made: Deployment, backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend.status = 400
    if trouble == "is gone":
        config = {"transport": {"type": "http", "url": "http://127.0.0.1:9", "retry": {"total": 0}}}
        path = Path(made.state.parent, "openlineage.yml")
        path.write_text(json.dumps(config))
        monkeypatch.delenv("OPENLINEAGE_URL")
        monkeypatch.setenv("OPENLINEAGE_CONFIG", str(path))
    if trouble == "is not installed":
        monkeypatch.setitem(sys.modules, "openlineage.client", None)
    with caplog.at_level(logging.WARNING, logger="updater"):
        made.run(DAYS[:1])
    assert made.context.ledger.watermark() == DAYS[0]
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("updater")]
    assert warning.startswith(f"OpenLineage got no event of {DAYS[0]}: ")
    assert ("updater[watch]" in warning) == (trouble == "is not installed")
    assert len(backend.events) == (1 if trouble == "refuses" else 0)


UNCONFIGURED = """
import sys
from datetime import date
from pathlib import Path
from tests.deployment import Deployment
from updater.settings import load_settings
if __name__ == "__main__":
    Deployment(load_settings(sys.argv[1])).run([date.fromisoformat(sys.argv[2])])
    print(*(name for name in sys.modules if name.startswith("openlineage")))
"""


def test_without_configuration_nothing_is_imported(made: Deployment, tmp_path: Path) -> None:

    (tmp_path / "story.py").write_text(UNCONFIGURED)
    environ = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(tmp_path / "story.py"), str(made.settings.source), str(DAYS[0])]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert made.context.ledger.watermark() == DAYS[0]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OPENLINEAGE_URL": "http://lineage"}, True),
        ({"OPENLINEAGE_URL": "http://lineage", "OPENLINEAGE_DISABLED": "True"}, False),
        ({"OPENLINEAGE__TRANSPORT__TYPE": "console"}, True),
        ({"OPENLINEAGE__TRANSPORT": "{}"}, True),
        ({"OPENLINEAGE_CONFIG": "nowhere.yml"}, False),
        ({"OPENLINEAGE_NAMESPACE": "ours"}, False),
    ],
)
def test_what_configures_it(environ: dict[str, str], expected: bool, tmp_path: Path) -> None:
    assert is_configured(environ, tmp_path, tmp_path) == expected


@pytest.mark.parametrize("place", ["here/openlineage.yml", "home/.openlineage/openlineage.yml", "elsewhere/ol.yml"])
def test_a_file_configures_it(place: str, tmp_path: Path) -> None:
    environ = {"OPENLINEAGE_CONFIG": str(tmp_path / "elsewhere" / "ol.yml")}
    assert not is_configured(environ, tmp_path / "here", tmp_path / "home")
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert is_configured(environ, tmp_path / "here", tmp_path / "home")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/lake/bill/ds=2024-03-01", ("file", "/lake/bill/ds=2024-03-01")),
        ("s3://bucket/lake/bill/ds=2024-03-01", ("s3://bucket", "lake/bill/ds=2024-03-01")),
        ("file:///lake/bill", ("file://", "/lake/bill")),
    ],
)
def test_datasets_are_named_as_openlineage_names_them(path: str, expected: tuple[str, str]) -> None:
    assert dataset(path) == expected
