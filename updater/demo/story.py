"""The whole story on public data: land, train a small model, daily windows, the last one through Airflow, verify, read
features back.
"""

import json
import shutil
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from updater import tables
from updater.domain import columns
from updater.errors import UpdaterError
from updater.pipeline.changes import read_changes
from updater.pipeline.daily.window import missing_days, run_window
from updater.pipeline.init import create_ledger, initialize
from updater.pipeline.monitor.verify import verify
from updater.pipeline.monitor.verify_compare import raise_if_different
from updater.runtime.deployment import Context, Progress, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.sources import completejourney
from updater.training.build import build_data
from updater.training.launch import launch

CHECKOUT = Path(__file__).resolve().parents[2]
SHOWN_COMPONENTS = 4


def config_file() -> Path:
    """The demo's config in the checkout that this package is installed from. Raises UpdaterError outside one."""
    path = CHECKOUT / "configs" / "demo.toml"
    if not path.exists():
        raise UpdaterError(
            "The demo needs a checkout of the project; clone it and run `make demo` there, or "
            "name a config with --config."
        )
    return path


def run_demo(settings: Settings, first_day: date, num_days: int, through_airflow: bool, progress: Progress) -> None:
    """Run the demo. Run again, it finds its windows done and shows them.

    Args:
        settings: the demo's config.
        first_day: landing day up to which the state is built before the daily windows begin.
        num_days: daily windows after it; the last one runs through Airflow if `through_airflow`.
        progress: shown while something takes long.
    """
    begin = time.perf_counter()
    last_day = first_day + timedelta(days=num_days)
    landed = completejourney.land(
        settings.paths.lake,
        completejourney.FIRST_DAY,
        last_day,
        settings.timezone,
        lambda done, total: progress("landing the public data", done, total),
    )
    tables.echo(f"Landed {sum(landed.values()):,} rows of the public Complete Journey data in {settings.paths.lake}.")
    model = _train(settings, progress)
    tables.show_setup(vars(initialize(settings, model)))
    context = open_writable(settings)
    by_hand = last_day - timedelta(days=1) if through_airflow else last_day
    with ProcessPool(settings, context.now) as pool:
        for ds in missing_days(context, first_day, by_hand):
            report = run_window(context, pool, ds, progress)
            what = "built the state of all users" if ds == first_day else f"refreshed {report.share:.1%} of the users"
            tables.echo(f"{ds}: {what} in {sum(report.seconds.values()):.1f} s.")
    tasks: dict[str, float] = {}
    if through_airflow and missing_days(context, last_day, last_day):
        tasks = _run_through_airflow(settings, last_day)
    windows = _windows(context, first_day, last_day)
    if tasks:
        # What Airflow's tasks took, with the imports that each of them pays.
        windows[-1]["seconds"] = {step: tasks[step] for step in windows[0]["seconds"] if step in tasks}
    tables.show_windows(windows)
    report_of_check = verify(context, None, progress)
    tables.show_verification(vars(report_of_check))
    raise_if_different(report_of_check)
    _read_back(settings, context, last_day)
    tables.echo(f"The demo took {time.perf_counter() - begin:.0f} s.")


def _train(settings: Settings, progress: Progress) -> str:
    """Train the model that the state begins with, on days before the first window. Returns its directory."""
    start = time.perf_counter()
    create_ledger(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        build_data(context, pool, progress)
    report = launch(context, progress)
    tables.echo(
        f"Trained the model in {time.perf_counter() - start:.1f} s: {report.answers:,} answers of {report.profiles:,} "
        f"profiles, {report.steps} steps, loss {report.losses['answers']:.3f}. It is small and trained briefly: it "
        "shows the path and is not to be evaluated."
    )
    return report.model


def _run_through_airflow(settings: Settings, ds: date) -> dict[str, float]:
    """Run a day's DAG here and now. Returns the seconds of its steps."""
    from updater.demo.run_day import run_day

    start = time.perf_counter()
    result = run_day(str(settings.source), ds)
    tasks: dict[str, str] = result["tasks"]
    tables.echo(
        f"{ds}: the Airflow DAG daily_update ended in state {result['state']} in {time.perf_counter() - start:.1f} s; "
        f"{sum(state == 'success' for state in tasks.values())} of {len(tasks)} tasks succeeded, "
        f"{sum(state == 'skipped' for state in tasks.values())} had nothing to do."
    )
    if result["state"] != "success":
        raise UpdaterError(f"The Airflow run of {ds} ended in state {result['state']}; its log is {result['log']}.")
    seconds: dict[str, float] = result["seconds"]
    return seconds


def _windows(context: Context, first_day: date, last_day: date) -> list[dict[str, Any]]:
    windows = [w for w in context.ledger.windows() if first_day <= w.ds <= last_day and w.completed_at is not None]
    return [window.counts for window in sorted(windows, key=lambda window: window.ds)]


def _read_back(settings: Settings, context: Context, ds: date) -> None:
    """Ask Feast's own command line for one user's features, and show them."""
    scenario = settings.scenarios[0].name
    view = columns.scenario_view(scenario, context.live_model().version)
    changes = read_changes(context, context.window(ds), settings.modalities[0].name)
    user = changes["user_id"][0].as_py()
    features = [columns.as_of(scenario), columns.model_version(scenario), columns.embedding(scenario)]
    command = ["feast", "-c", "feature_repo", "get-online-features", "-e", f"user_id={user}"]
    for feature in features:
        command += ["-f", f"{view}:{feature}"]
    executable = shutil.which("feast", path=str(Path(sys.executable).parent)) or "feast"
    done = subprocess.run([executable, *command[1:]], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UpdaterError(f"`{' '.join(command)}` failed: {done.stderr.strip().splitlines()[-1]}")
    values = {name: value[0] for name, value in json.loads(done.stdout).items()}
    vector = values[columns.embedding(scenario)]
    shown = ", ".join(f"{component:.4f}" for component in vector[:SHOWN_COMPONENTS])
    tables.echo(
        f"$ {' '.join(command)}",
        *(f"  {name}: {values[name]}" for name in features[:-1]),
        f"  {features[-1]}: [{shown}, … {len(vector) - SHOWN_COMPONENTS} more]",
    )
