"""Feast's servers start on a state and answer, as the docs say."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT, SettingsFactory
from tests.integration.store_helpers import VIEW, vectors, write_lapse
from updater import store
from updater.settings import Settings

pytestmark = pytest.mark.slow

FEAST = str(Path(sys.executable).parent / "feast")
LONGEST_START = 120
"""Seconds; a server of Feast imports for ten."""


@pytest.fixture
def settings(make_settings: SettingsFactory) -> Settings:
    settings = make_settings()
    at = write_lapse(settings, "2024-02-28", ["1018"], vectors(1, seed=1), version="v1-served")
    store.apply(settings)
    store.materialize(settings, at, [VIEW])
    return settings


@contextmanager
def served(settings: Settings, tmp_path: Path, *command: str) -> Iterator[int]:
    """A server of Feast on a free port of loopback, once it listens; stopped with its children afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    yaml = f"{settings.paths.state}/feature_store.yaml"
    log = tmp_path / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [FEAST, "-c", str(ROOT / "feature_repo"), "-f", yaml, *command, "--port", str(port)],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if not name.startswith("UPDATER_")},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + LONGEST_START
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"it does not listen: {log.read_text()}"
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_the_curl_of_the_docs_reads_a_user(settings: Settings, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    block = re.search(r"^curl .*?(?<!\\)\n", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    with served(settings, tmp_path, "serve") as port:
        command = shlex.split(block[0].replace("\\\n", " ").replace("127.0.0.1:6566", f"127.0.0.1:{port}"))
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "v1-served" in answer
    assert "PRESENT" in answer


def test_the_user_interface_answers(settings: Settings, tmp_path: Path) -> None:
    with (
        served(settings, tmp_path, "ui", "--host", "127.0.0.1") as port,
        urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer,
    ):
        assert answer.status == 200
        assert b"<html" in answer.read()


def test_the_registry_server_answers(settings: Settings, tmp_path: Path) -> None:
    from feast import FeatureStore, RepoConfig

    with served(settings, tmp_path, "serve_registry") as port:
        remote = RepoConfig(
            project="updater",
            provider="local",
            registry={"registry_type": "remote", "path": f"127.0.0.1:{port}"},
            online_store=None,
            entity_key_serialization_version=3,
        )
        views = FeatureStore(config=remote).list_feature_views()
    assert {view.name for view in views} == {"lapse_v1", "takeout_v1", "modality_summaries"}
