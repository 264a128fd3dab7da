"""Daily windows against a full recompute in the same process, on made-up users; and texts encoded more than once.

All run the whole pipeline: detect, encode, refresh, publish, materialize, commit. The full recompute differs in one
thing only: every user with events counts as changed. CPU seconds of one process with one thread for the model.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from benchmarks.deployment import FIRST_DAY, local_settings
from benchmarks.row import Row, measured
from benchmarks.timing import cpu_seconds, top_functions
from updater.lake import partitions
from updater.pipeline.changes import read_changes
from updater.pipeline.compact.run import maintain
from updater.pipeline.daily.intake.admission import open_window
from updater.pipeline.daily.refresh import refresh_days
from updater.pipeline.daily.window import WindowReport, finish, prepare, run_window
from updater.pipeline.init import initialize
from updater.runtime import process_pool
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.runtime.timing import StepTimes
from updater.settings import load_settings
from updater.sources.synthetic import SyntheticSpec, land
from updater.state.event_store import CHANGES_SCHEMA, Buffer, connect

HISTORY_DAYS = 75
"""Nearly the whole buffer, but no day on which events expire: those would change others than the active users."""
ACTIVE_IN_HISTORY = 0.15
ACTIVE = {0.05: 0.034, 0.20: 0.165, 0.50: 0.455}
"""Share of users to be changed, and how many have to be active for it: late and corrected events change others too."""
TARGET = "<= 1.1"
PRETRAINED = '"smollm2"\nbackbone_layers = 4'
"""A backbone nearer to the paper's in size."""


@dataclass(frozen=True)
class Timed:
    """A window, its CPU seconds, and the mean length of the prefixes that it computed, in tokens."""

    report: WindowReport
    seconds: float
    prefix_tokens: float

    @property
    def per_prefix(self) -> float:
        """CPU seconds per changed user."""
        return self.seconds / self.report.prefixes


def rows(smoke: bool) -> Iterator[Row]:
    """One row per backbone and share of changed users, the cost of a window without changes, and texts encoded
    twice.
    """
    yield from _rows_of('"tiny"', "", *((150, 1) if smoke else (20_000, 2)))
    yield from _rows_of(PRETRAINED, "SmolLM2's first 4 layers: ", *((30, 1) if smoke else (2_000, 1)))


def _rows_of(backbone: str, label: str, num_users: int, rounds: int) -> Iterator[Row]:
    with TemporaryDirectory(prefix="updater-bench-") as root, _State(Path(root), backbone, num_users, rounds) as state:
        found: dict[float, list[Timed]] = {share: [] for share in ACTIVE}
        full: list[Timed] = []
        for _ in range(rounds):
            for number, (share, active) in enumerate(ACTIVE.items()):
                day = state.land_next(active)
                if number == 1:
                    full.append(state.full(day))
                found[share].append(state.window(day))
        idle = state.window(state.land_next(0.0))
        encoded, num_windows = state.pool.encoded, len(rounds * [*ACTIVE]) + 3
        yield measured(
            f"{label}daily window without changes, over the full recompute of {full[-1].report.prefixes:,} users",
            [idle.seconds / one.seconds for one in full],
            note=_steps(idle),
        )
        yield measured(
            f"{label}texts encoded more than once in {num_windows} windows of one state",
            [encoded.total() - len(encoded)],
            "<= 0",
            note=f"{len(encoded):,} distinct texts encoded",
        )
        # Last, because a missed target is profiled on further days.
        for share, windows in found.items():
            yield _share_row(label, share, windows, full, state)


def _share_row(label: str, share: float, windows: list[Timed], full: list[Timed], state: "_State") -> Row:
    """What a changed user costs, over what a user of the full recompute costs: time over the changed share."""
    last = windows[-1]
    heavier = last.prefix_tokens / full[-1].prefix_tokens
    return measured(
        f"{label}daily window, {share:.0%} of users changed, over its share of a full recompute in the same process",
        [one.per_prefix / each.per_prefix for one, each in zip(windows, full, strict=True)],
        TARGET,
        note=f"{last.report.prefixes:,} of {last.report.active_users:,} users ({last.report.share:.1%}), whose "
        f"prefixes are {heavier:.2f} times as long as the average; {_steps(last)}; full recompute: {_steps(full[-1])}",
        where=lambda: state.profile(ACTIVE[share]),
    )


class _State:
    """A deployment that walks from day to day."""

    def __init__(self, root: Path, backbone: str, num_users: int, rounds: int) -> None:
        self.root = root
        self.settings = local_settings(root / "daily", backbone=backbone)
        num_days = HISTORY_DAYS + 2 + len(ACTIVE) * (rounds + 1)
        self.spec = SyntheticSpec(
            num_users=num_users, num_days=num_days, first_day=FIRST_DAY, active_share=ACTIVE_IN_HISTORY
        )
        self.day = FIRST_DAY + timedelta(days=HISTORY_DAYS - 1)
        land(self.settings.paths.lake, self.spec, FIRST_DAY, self.day)
        initialize(self.settings)
        self.context = open_writable(self.settings)
        self.pool = CountingPool(self.settings, self.context.now)
        self.window(self.day)
        self.window(self.land_next(ACTIVE_IN_HISTORY))  # warms what the timed ones share
        maintain(self.context)

    def __enter__(self) -> "_State":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.__exit__(None, None, None)

    def land_next(self, active_share: float) -> date:
        """Land one more day; without active users an empty one. Returns it."""
        self.day += timedelta(days=1)
        lake = self.settings.paths.lake
        if active_share:
            land(lake, replace(self.spec, active_share=active_share), self.day, self.day)
        else:
            for modality in self.settings.modalities:
                partitions.mark_success(partitions.join(lake, modality.name), self.day)
        return self.day

    def window(self, day: date) -> Timed:
        """Run a window, with the model loaded before."""
        return _timed(self.context, partial(run_window, self.context, self.pool, day))

    def full(self, day: date) -> Timed:
        """The full recompute of a day, on a copy of the state."""
        root = self.root / f"full-{day}"
        shutil.copytree(self.settings.source.parent, root, ignore=shutil.ignore_patterns("lake"))
        copied = load_settings(root / self.settings.source.name, environ={})
        copied = replace(copied, paths=replace(copied.paths, lake=self.settings.paths.lake))
        initialize(copied)
        context = open_writable(copied, self.context.now)
        with ProcessPool(copied, context.now) as pool:
            done = _timed(context, partial(recompute, context, pool, day))
        shutil.rmtree(root)
        return done

    def profile(self, active_share: float) -> str:
        """Where the time of one more day goes."""
        day = self.land_next(active_share)
        return top_functions(partial(run_window, self.context, self.pool, day))


def recompute(context: WritableContext, pool: ProcessPool, ds: date) -> WindowReport:
    """Run a window as if every user with events had changed."""
    window = context.window(ds)
    steps = StepTimes()
    open_window(context, window)
    prepare(context, pool, window, steps)
    settings = context.settings
    with steps("detect"), connect(settings.paths.state) as connection:
        for modality in settings.modalities:
            files = context.event_files(modality.name, ds)
            everyone = Buffer(connection, modality, files, settings.buffer.days, settings.timezone).everyone(window)
            # Whoever lost the last event of a modality has no content there any more.
            changed = read_changes(context, window, modality.name)
            both = pa.concat_tables([everyone.cast(CHANGES_SCHEMA), changed.cast(CHANGES_SCHEMA)])
            partitions.write_table(context.layout.changes_file(modality.name, ds), both)
    with steps("refresh"):
        list(refresh_days(pool, [ds], range(settings.buffer.num_buckets)))
    return finish(context, window, context.live_model().name, steps)


class CountingPool(ProcessPool):
    """Workers that remember how often each text was encoded."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.encoded: Counter[str] = Counter()

    def encode(self, texts: list[str], progress: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """As `ProcessPool.encode`."""
        self.encoded.update(texts)
        return super().encode(texts, progress)


def _timed(context: WritableContext, run: Callable[[], WindowReport]) -> Timed:
    # A process keeps the session of one state only; opening another is no part of either way.
    session = process_pool.open_session(context)
    assert session.inference
    reports: list[WindowReport] = []
    lengths = [np.zeros(0)]
    measure = session.model.layout.lengths

    def counted(users: Any) -> np.ndarray:
        lengths.append(measure(users))  # asked once per batch
        return lengths[-1]

    with patch.object(session.model.layout, "lengths", counted):
        seconds = cpu_seconds(lambda: reports.append(run()))
    return Timed(reports[0], seconds, float(np.concatenate(lengths).sum() / max(reports[0].prefixes, 1)))


def _steps(timed: Timed) -> str:
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in timed.report.seconds.items())
    return f"{timed.seconds:.2f} CPU seconds (wall: {steps})"
