"""A daily window against a full recompute of the same day, in the same process, on made-up users.

Both run the whole pipeline: detect, encode, refresh, publish, materialise, commit. The full recompute differs in one
thing only: every user with events counts as changed.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from updater.lake import partitions
from updater.lake.buffer import CHANGES_SCHEMA, Buffer, connect
from updater.pipeline.context import Context, no_progress, open_context
from updater.pipeline.daily import WindowReport, finish, prepare, run_window
from updater.pipeline.setup import initialise
from updater.pipeline.workers import Workers
from updater.settings import Settings, load_settings
from updater.sources.synthetic import SyntheticSpec, land

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "local.toml"
FIRST_DAY = date(2025, 1, 1)
HISTORY_DAYS = 30
ROUNDS = 3
TARGET = 1.25


def measure(num_users: int = 20_000, active_share: float = 0.2) -> list[dict[str, Any]]:
    """The ratio of a window to its full recompute, and the cost of a window without changes, in CPU seconds.

    Each of ROUNDS days is run both ways, one after the other; the ratio is the median of the days' ratios.
    """
    with TemporaryDirectory(prefix="updater-bench-") as root:
        settings = write_config(Path(root), "daily")
        num_days = HISTORY_DAYS + 1 + ROUNDS
        spec = SyntheticSpec(num_users=num_users, num_days=num_days, first_day=FIRST_DAY, active_share=active_share)
        days = [FIRST_DAY + timedelta(days=HISTORY_DAYS - 1 + offset) for offset in range(ROUNDS + 3)]
        land(settings.paths.lake, spec, FIRST_DAY, days[-2])
        initialise(settings)
        context = open_context(settings)
        rounds = []
        with Workers(settings, context.now) as workers:
            run_window(context, workers, days[0])
            run_window(context, workers, days[1])  # warms everything that the timed ones share
            for day in days[2:-1]:
                full = _copy(settings, Path(root) / f"full-{day}")
                with Workers(full, context.now) as other:
                    everyone, spent_on_all = _timed(partial(recompute, open_context(full, context.now), other, day))
                incremental, spent = _timed(partial(run_window, context, workers, day))
                rounds.append((incremental, spent, everyone, spent_on_all))
                shutil.rmtree(full.source.parent)
            for modality in settings.modalities:
                partitions.mark_success(partitions.join(settings.paths.lake, modality.name), days[-1])
            idle, spent_idle = _timed(partial(run_window, context, workers, days[-1]))
    share = median(one.prefixes / everyone.prefixes for one, _, everyone, _ in rounds)
    ratios = sorted(spent / spent_on_all for _, spent, _, spent_on_all in rounds)
    over_share = sorted(
        (spent / spent_on_all) / (one.prefixes / everyone.prefixes) for one, spent, everyone, spent_on_all in rounds
    )
    incremental, spent, everyone, spent_on_all = rounds[-1]
    return [
        {
            "name": f"daily window, {share:.0%} of {everyone.prefixes:,} users changed, over its full recompute",
            "ratio": round(median(ratios), 4),
            "target": f"<= {TARGET} x {share:.4f} = {TARGET * share:.4f}",
            "met": median(over_share) <= TARGET,
            "spread": [round(ratio, 4) for ratio in ratios],
            "detail": {
                "ratio_over_share": [round(ratio, 3) for ratio in over_share],
                "cpu_seconds": [round(spent, 2) for _, spent, _, _ in rounds],
                "cpu_seconds_full": [round(spent_on_all, 2) for *_, spent_on_all in rounds],
                "steps": incremental.seconds,
                "steps_full": everyone.seconds,
            },
        },
        {
            "name": f"fixed cost: window in which {idle.changed_users} users changed, over the full recompute",
            "ratio": round(spent_idle / spent_on_all, 4),
            "target": None,
            "met": None,
            "spread": None,
            "detail": {"cpu_seconds": round(spent_idle, 2), "steps": idle.seconds},
        },
    ]


def recompute(context: Context, workers: Workers, ds: date) -> WindowReport:
    """Run a window as if every user with events had changed."""
    window = context.window(ds)
    report = WindowReport(str(window), model=context.live_model().name)
    prepare(context, workers, window, report, no_progress)
    settings = context.settings
    with report.step("detect"), connect(settings.paths.state) as connection:
        for modality in settings.modalities:
            files = context.event_files(modality.name, ds)
            everyone = Buffer(connection, modality, files, settings.buffer.days, settings.timezone).everyone(window)
            partitions.write_table(context.changes_file(modality.name, ds), everyone.cast(CHANGES_SCHEMA))
    with report.step("refresh"):
        list(workers.refresh([ds], range(settings.buffer.num_buckets)))
    finish(context, window, report)
    return report


def _timed(run: Callable[[], WindowReport]) -> tuple[WindowReport, float]:
    start = time.process_time()
    report = run()
    return report, time.process_time() - start


def write_config(root: Path, name: str, processes: int = 1) -> Settings:
    """The local config with everything below `root/name`; with one process CPU seconds are this process's."""
    text = CONFIG.read_text(encoding="utf-8")
    repo = json.dumps(str(CONFIG.parents[1] / "feature_repo"))
    target = root / name / "updater.toml"
    target.parent.mkdir(parents=True)
    text = text.replace('"../feature_repo"', repo).replace("../", "")
    target.write_text(text + f"\n[run]\nprocesses = {processes}\n", encoding="utf-8")
    return load_settings(target, environ={})


def _copy(settings: Settings, root: Path) -> Settings:
    """The same deployment again, with a state of its own and the same lake."""
    shutil.copytree(settings.source.parent, root, ignore=shutil.ignore_patterns("lake"))
    copied = load_settings(root / settings.source.name, environ={})
    copied = replace(copied, paths=replace(copied.paths, lake=settings.paths.lake))
    initialise(copied)
    return copied


def main() -> None:
    """Print the rows."""
    for row in measure():
        print(json.dumps(row))


if __name__ == "__main__":
    main()
