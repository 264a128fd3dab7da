"""`updater state verify --sample 20` with two numbers of users: CPU seconds and bytes read.

The config is light, as in `benchmarks.scale.ratios` (one modality, one layer of the tiny model, one scenario, 16
buckets), but with a month of history, so that the smaller lake too is larger than what a sample reads of it. Each
verification is a process of its own, as the command is; bytes are those of the lake and of the state's Parquet files.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.deployment import FIRST_DAY
from benchmarks.row import Row, measured
from benchmarks.scale.ratios import ACTIVE_SHARE, CONFIG
from benchmarks.timing import in_turns, ratios
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings
from updater.sources.synthetic import EventsPerActiveDay, SyntheticSpec, land

SAMPLE = 20
EVENTS = EventsPerActiveDay(bill=4.0, mini=0.0, spm=0.0, search=0.0, app=0.0, tabular=0.0)


def rows(smoke: bool) -> Iterator[Row]:
    """CPU seconds and bytes of the larger deployment over the smaller."""
    sizes, days, rounds = ((200, 600), 3, 1) if smoke else ((20_000, 200_000), 30, 3)
    with TemporaryDirectory(prefix="updater-bench-") as root:
        few, many = (_deployment(Path(root, str(num_users)), num_users, days) for num_users in sizes)
        found: dict[str, dict[str, Any]] = {}
        ways = {"few": partial(_verify, few, found, "few"), "many": partial(_verify, many, found, "many")}
        seconds = in_turns(ways, rounds)
    about = "; ".join(
        f"{num_users:,} users: {found[name]['bytes_read'] / 2**20:.1f} MiB, {min(seconds[name]):.1f} s"
        for num_users, name in zip(sizes, ways, strict=True)
    )
    what = f"verify --sample {SAMPLE}, {sizes[1]:,} users over {sizes[0]:,}"
    yield measured(
        f"{what}, bytes read", [found["many"]["bytes_read"] / found["few"]["bytes_read"]], "<= 1.25", note=about
    )
    yield measured(f"{what}, CPU seconds", ratios(seconds["many"], seconds["few"]), "<= 1.25", note=about)


def _deployment(root: Path, num_users: int, num_days: int) -> Settings:
    """A lake and a state with one committed window over all of it."""
    root.mkdir()
    source = root / "updater.toml"
    source.write_text(CONFIG, encoding="utf-8")
    spec = SyntheticSpec(num_users=num_users, num_days=num_days, first_day=FIRST_DAY, active_share=ACTIVE_SHARE)
    settings = load_settings(source, environ={})
    land(settings.paths.lake, replace(spec, events_per_active_day=EVENTS))
    initialize(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        for number in (num_days - 2, num_days - 1):
            run_window(context, pool, FIRST_DAY + timedelta(days=number))
    return settings


def _verify(settings: Settings, found: dict[str, dict[str, Any]], name: str) -> float:
    """CPU seconds of the command, whose report goes into `found`."""
    command = [str(Path(sys.executable).with_name("updater")), "state", "verify"]
    command += ["--sample", str(SAMPLE), "--json"]
    environ = {**os.environ, "UPDATER_CONFIG": str(settings.source)}
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    found[name] = json.loads(done.stdout)
    if found[name]["users"] != SAMPLE:
        raise RuntimeError(f"{found[name]['users']} users were verified instead of {SAMPLE}.")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
