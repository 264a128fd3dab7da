"""Every HTML page that the project makes, opened in a real Chromium, at the widths of a desk and of a telephone."""

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.browser import looking
from tests.evaluation_lake import write_evaluation
from tests.fidelity_lake import FIRST, write_lake
from tests.report_state import WAITING, with_windows
from updater.api import Deployment
from updater.cli import main
from updater.model.checkpoint import create_model, save_model
from updater.model.config import create_config
from updater.pipeline.asking.active_users import active_users
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def browser():
    with looking.opened() as browser:
        yield browser


def test_the_page_of_an_evaluation(browser, tmp_path):
    config = write_evaluation(tmp_path)
    args = ["--config", str(config)]
    assert CliRunner().invoke(main, ["init", *args]).exit_code == 0
    done = CliRunner().invoke(main, ["model", "evaluate", "--paraphrases", "2", *args])
    assert done.exit_code == 0, done.output
    page = tmp_path / "state" / "evaluation" / "report.html"
    assert looking.faults(browser, page, "evaluation") == []


def test_the_page_of_an_evaluation_of_baselines_alone(browser, tmp_path):
    config = write_evaluation(tmp_path)
    done = CliRunner().invoke(main, ["model", "evaluate", "--systems", "rfm,recency", "--config", str(config)])
    assert done.exit_code == 0, done.output
    page = tmp_path / "state" / "evaluation" / "report.html"
    assert looking.faults(browser, page, "baselines") == []


def test_the_page_of_a_day(browser, tmp_path):
    settings = load_settings(write_lake(tmp_path), environ={})
    initialize(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        for offset in range(2):
            run_window(context, pool, FIRST + timedelta(days=offset))
    save_model(create_model(create_config(settings), seed=99), tmp_path / "other")
    args = ["model", "fidelity", "--config", str(settings.source), "--model", str(tmp_path / "other")]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    (page,) = (tmp_path / "state" / "evaluation" / "fidelity").rglob("report.html")
    assert looking.faults(browser, page, "fidelity") == []


def test_the_page_of_an_explanation(browser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the page names the direction's file as it was given
    settings = load_settings(write_lake(tmp_path), environ={})
    initialize(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        run_window(context, pool, FIRST)
    _, users = next((bucket, users) for bucket, users in active_users(context, FIRST) if users)
    direction, page = Path("direction.json"), tmp_path / "why.html"
    # Coefficients of no model: some of either sign.
    direction.write_text(str([(-1) ** n * (1 + n % 5) for n in range(settings.model.embedding_dim)]))
    args = ["user", "explain", "--user-id", users[0], "--scenario", settings.scenarios[0].name]
    for name, along in (("explanation", ["--direction", str(direction)]), ("explanation-itself", [])):
        done = CliRunner().invoke(main, [*args, *along, "--html", str(page), "--config", str(settings.source)])
        assert done.exit_code == 0, done.output
        assert looking.faults(browser, page, name, shown={name: ""} if name == "explanation" else None) == []
    assert looking.faults(browser, page, "explanation-itself", "dark") == []


@pytest.fixture(scope="module")
def report_page(tmp_path_factory):
    """A state with windows, refused rows, a day that waits, an alert and an evaluated model."""
    root = tmp_path_factory.mktemp("report") / "shop"
    root.mkdir()
    made = with_windows(root, alerts={"max_days_since_last_event": 0.1})
    evaluation = Path(made.context.layout.model_evaluation(made.context.live_model().digest))
    evaluation.parent.mkdir(parents=True)
    evaluation.write_text(
        json.dumps({"mean": {"base": {"auc": 0.71}}, "tasks": {"buys": {}}, "gate": ["It is worse."]})
    )
    # A clock of its own, so that the picture does not age.
    now = made.context.window(WAITING).end + timedelta(hours=6)
    Deployment(made.settings, now).report(str(root / "r.html"))
    return root / "r.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_about_a_deployment(browser, report_page, scheme):
    assert looking.faults(browser, report_page, "report", scheme, shown={"report": ""}) == []


def test_dark_mode_is_dark(browser, report_page):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(report_page.as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
    context.close()


def test_pale_words_are_found_in_the_dark(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "PICTURES", tmp_path)
    page = tmp_path / "page.html"
    head = '<!doctype html><meta charset="utf-8"><title>t</title><link rel="icon" href="data:,"><h1>t</h1>'
    page.write_text(f'{head}<p style="color: #777; background: #555">pale</p>')
    assert any("too little contrast: pale" in fault for fault in looking.faults(browser, page, "pale", "dark"))


SHOWN = {
    "quality": {"evaluation": ""},
    "fidelity": {"fidelity": ""},
    "text_profile": {"transfer": ""},
}
"""What the documentation shows of the pages about public data, by their folders."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_the_repository(browser, scheme):
    listed = subprocess.run(["git", "ls-files", "*.html"], cwd=ROOT, capture_output=True, text=True, check=False)
    pages = [ROOT / name for name in listed.stdout.split()] or [*ROOT.glob("benchmarks/**/*.html")]
    assert pages
    assert {page.parent.name for page in pages} >= set(SHOWN)
    faults = {
        str(page): looking.faults(browser, page, page.parent.name, scheme, shown=SHOWN.get(page.parent.name))
        for page in pages
    }
    assert {page: found for page, found in faults.items() if found} == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<p>[0.1, 0.2]</p>", "looks like an object"),
        ("<p>the mean is nan</p>", "looks like an object"),
        ("<p>None</p>", "looks like an object"),
        ("<table><tr><td>&#91;x, y&#93;</td></tr></table>", "a cell has brackets"),
        ("<table><tr><td></td></tr></table>", "a cell is empty"),
        ("<pre>" + "wide " * 300 + "</pre>", "scrolls sideways"),
        ("<script>undefined.x</script>", "script:"),
        ("<script>console.error('no')</script>", "console: no"),
        ('<img alt="curve" src="nowhere.png">', "an image is broken: curve"),
    ],
)
def test_what_a_page_must_not_have_is_found(browser, tmp_path, monkeypatch, content, said):
    monkeypatch.setattr(looking, "PICTURES", tmp_path)
    page = tmp_path / "page.html"
    head = '<!doctype html><meta charset="utf-8"><title>t</title><link rel="icon" href="data:,"><h1>t</h1>'
    page.write_text(head + "<p>plain</p>")
    assert looking.faults(browser, page, "plain") == []
    page.write_text(head + content)
    assert any(said in fault for fault in looking.faults(browser, page, "faulty"))
