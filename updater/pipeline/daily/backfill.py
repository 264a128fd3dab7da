"""Backfill: the windows of a range that are missing, oldest first, with the model loaded once."""

import logging
from collections import Counter
from datetime import date

from updater.domain.window import Window
from updater.errors import DataRefusedError, NotLandedError
from updater.pipeline.daily.intake.admission import open_window
from updater.pipeline.daily.refresh import refresh_days
from updater.pipeline.daily.window import WindowReport, finish, missing_days, prepare
from updater.pipeline.monitor import audit
from updater.pipeline.monitor.lineage import window_events
from updater.pipeline.monitor.prometheus import write_configured
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.timing import StepTimes, Stopwatch

logger = logging.getLogger(__name__)


def backfill(
    context: WritableContext,
    pool: ProcessPool,
    from_date: date,
    to_date: date,
    progress: Progress = no_progress,
    *,
    restated: bool = False,
) -> list[WindowReport]:
    """Run the missing windows of a range; both dates are inclusive. Resumable: run it again after a crash.

    The values are those of running the days one by one. Days are detected and encoded first, then every bucket walks
    all of them. `restated`: the range is that of a restatement (`missing_days`).

    Raises:
        NotLandedError, DataRefusedError: a day has not landed or cannot be trusted; the days before it are done.
        WindowOrderError: the range would leave a gap after the last window, or lies before the first.
    """
    watch = Stopwatch()
    missing = missing_days(context, from_date, to_date, restated=restated)
    model = context.live_model().name
    prepared: list[tuple[Window, StepTimes]] = []
    stopped: NotLandedError | DataRefusedError | None = None
    for done, ds in enumerate(missing):
        progress("detecting and encoding", done, len(missing))
        window, steps = context.window(ds), StepTimes()
        try:
            with window_events(context, window, whole=False):
                in_lake = open_window(context, window)
                if not done:
                    audit.record(context, "backfill", first=str(missing[0]), last=str(missing[-1]), days=len(missing))
                prepare(context, pool, window, steps, progress, in_lake)
        except (NotLandedError, DataRefusedError) as error:
            stopped = error
            break
        prepared.append((window, steps))
    buckets = range(context.settings.buffer.num_buckets)
    landed = missing[: len(prepared)]
    if landed:
        done = 0
        refreshing, seconds = Stopwatch(), Counter[date]()
        for group in refresh_days(pool, landed, buckets, seconds=seconds):
            done += len(group)
            progress("refreshing buckets", done, len(buckets))
        # Processes walk all days side by side: what passed is dealt out to the days by what each of them took.
        share = refreshing.seconds / (seconds.total() or 1.0)
        for window, steps in prepared:
            steps.add("refresh", share * seconds[window.ds])
    reports: list[WindowReport] = []
    for done, (window, steps) in enumerate(prepared):
        progress("publishing", done, len(prepared))
        with window_events(context, window):
            reports.append(finish(context, window, model, steps))
    if landed:
        write_configured(context)
        logger.info("backfilled %d windows, %s to %s, %.1f s", len(landed), landed[0], landed[-1], watch.seconds)
    if stopped is not None:
        raise stopped
    return reports
