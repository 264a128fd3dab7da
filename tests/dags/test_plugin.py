"""The page in a real Airflow: its API server, its login, its navigation, in a real Chromium."""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

import pytest

from tests.browser import looking
from tests.conftest import ROOT, airflow_home_at
from tests.deployment import write_config
from tests.report_state import WAITING, with_windows
from updater.scaffold import new_deployment

pytestmark = pytest.mark.airflow

PLUGIN = """
from updater.airflow.plugin import report_plugin

report = report_plugin({config!r}, name="{name}", dag_id="{name}_daily_update", title="{name} embeddings")
"""
LONGEST_START = 120
"""Seconds; it takes ten on a quiet machine."""
PASSWORDS = "simple_auth_manager_passwords.json.generated"


@dataclass(frozen=True)
class Server:
    """An API server with two deployments: `north` has windows, `south` has no state."""

    url: str
    home: Path

    @property
    def password(self) -> str:
        found: str = json.loads((self.home / PASSWORDS).read_text())["admin"]
        return found

    def token(self) -> str:
        body = json.dumps({"username": "admin", "password": self.password}).encode()
        request = Request(f"{self.url}/auth/token", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            found: str = json.load(answer)["access_token"]
        return found

    def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Status, body and the place that a redirect leads to, which is not followed."""
        request = Request(f"{self.url}{path}", headers=headers)
        try:
            with build_opener(_Stay).open(request, timeout=60) as answer:
                return answer.status, answer.read().decode(), ""
        except HTTPError as refused:
            return refused.code, refused.read().decode(), refused.headers.get("Location", "")


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow none."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, airflow_db: Path) -> Iterator[Server]:
    root = airflow_home_at(tmp_path_factory.mktemp("plugin"), airflow_db)
    for folder in ("dags", "plugins"):
        (root / folder).mkdir()
    configs = {"north": with_windows(root / "north").settings.source, "south": write_config(root / "south")}
    for name, config in configs.items():
        (root / "plugins" / f"{name}.py").write_text(PLUGIN.format(config=str(config), name=name))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "UPDATER"))},
        "AIRFLOW_HOME": str(root),
        "AIRFLOW__CORE__DAGS_FOLDER": str(root / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(root / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
    }
    log = root / "server.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "airflow", "api-server"]
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output, start_new_session=True)
    try:
        end = time.monotonic() + LONGEST_START
        while not _answers(f"{url}/api/v2/version"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield Server(url, root)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("path", ["/updater/north/", "/updater/north/report.json", "/updater/north/?plan=true"])
def test_nobody_reads_it_without_having_logged_in(server: Server, path: str) -> None:
    assert server.get(path)[0] == 401
    assert server.get(path, Authorization="Bearer forged")[0] == 403
    assert server.get(path, Cookie="_token=forged")[0] in (401, 403)


def test_there_is_nothing_else_to_read(server: Server) -> None:
    for path in ("openapi.json", "docs", "redoc"):
        assert server.get(f"/updater/north/{path}")[0] == 404


def test_a_browser_is_sent_to_the_login_and_comes_back(server: Server) -> None:
    status, _, place = server.get("/updater/north/", Accept="text/html,*/*")
    assert status == 307
    assert place.startswith("/api/v2/auth/login?next=")
    assert "updater%2Fnorth" in place


def test_who_has_logged_in_reads_each_deployment(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.token()}"}
    status, page, _ = server.get("/updater/north/", **headers)
    assert status == 200
    assert "north/updater.toml" in page
    status, text, _ = server.get("/updater/north/report.json?plan=true", **headers)
    assert json.loads(text)["next_day"]["plan"]["ds"] == str(WAITING)
    status, page, _ = server.get("/updater/south/", **headers)
    assert status == 503
    assert "updater init" in page
    assert "Traceback" not in page


@pytest.mark.browser
def test_the_page_stands_in_the_navigation(server: Server) -> None:
    with looking.opened() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{server.url}/updater/north/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", server.password)
        page.click("button[type=submit]")
        page.wait_for_selector("h1:has-text('north/updater.toml')")

        page.goto(server.url)
        page.get_by_text("Plugins", exact=True).click()
        page.get_by_text("north embeddings").click()
        frame = page.frame_locator("iframe")
        frame.locator("h1").wait_for()
        page.screenshot(path=looking.pictures() / "airflow-1280.png")
        looking.keep_picture(page, "airflow")
        frame.get_by_text("Plan it now").click()
        frame.get_by_text("To compute:").wait_for()
        page.reload()
        frame.locator("h1").wait_for()
        assert "north/updater.toml" in frame.locator("h1").inner_text()
        context.close()


def test_a_new_deployment_and_this_checkout_have_a_plugin_file(tmp_path: Path) -> None:
    new_deployment(tmp_path / "shop", date(2024, 1, 1))
    shop = runpy.run_path(str(tmp_path / "shop" / "plugins" / "updater_plugin.py"))["report"]
    ours = runpy.run_path(str(ROOT / "plugins" / "updater_report.py"))["report"]
    found = [(made.name, made.external_views[0]["href"], made.fastapi_apps[0]["url_prefix"]) for made in (shop, ours)]
    assert found == [
        ("updater_shop", "updater/shop/", "/updater/shop"),
        ("updater_updater", "updater/updater/", "/updater/updater"),
    ]


def test_other_components_load_the_plugin_without_what_serves_it(tmp_path: Path) -> None:
    heavy = ("torch", "transformers", "feast", "pandas", "pyarrow", "duckdb", "fastapi", "updater.report")
    code = (
        "import sys, airflow.sdk, airflow.plugins_manager; base = set(sys.modules);"
        "from updater.airflow.plugin import report_plugin; made = report_plugin('/nowhere/updater.toml', name='shop');"
        f"print([name for name in {heavy!r} if name in set(sys.modules) - base]);"
        "print(made.fastapi_apps[0]['url_prefix'], made.external_views[0]['href'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "/updater/shop updater/shop/"]
