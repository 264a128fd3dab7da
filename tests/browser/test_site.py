"""The documentation's site: it builds strictly, fetches nothing, and its pages fit a desk and a telephone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import looking

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PAGES = ("index", "docs/concepts", "docs/own_lake", "reference/commands", "reference/config", "reference/python")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    target = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [Path(sys.prefix, "bin", "mkdocs"), "build", "--strict", "--quiet", "--site-dir", target],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="module")
def browser():
    with looking.opened() as browser:
        yield browser


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_site(browser, site, page):
    shown = {"site": ""} if page == "index" else None
    assert looking.faults(browser, site / f"{page}.html", f"site-{Path(page).name}", prose=True, shown=shown) == []


def test_the_reference_has_every_command_and_key(site):
    commands = (site / "reference" / "commands.html").read_text()
    assert all(f"updater {name}" in commands for name in ("run", "model train", "user erase", "state verify"))
    keys = (site / "reference" / "config.html").read_text()
    assert all(f"<code>{key}</code>" in keys for key in ("num_buckets", "max_events", "query", "max_rejected_share"))
