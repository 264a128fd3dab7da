"""One window from detect to commit, and many of them: a day is a backfill of length one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from updater.domain.window import Window, days
from updater.errors import UnfinishedWorkError, VerificationError
from updater.pipeline.daily.admission import open_window
from updater.pipeline.daily.detect import detect, detected
from updater.pipeline.daily.encode import encode, encoded_before
from updater.pipeline.daily.publish import commit, materialize, publish
from updater.pipeline.daily.refresh import refresh_days
from updater.pipeline.monitor import audit
from updater.pipeline.monitor.lineage import window_events
from updater.pipeline.monitor.prometheus import write_configured
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import text_vectors
from updater.state.event_store import connect


@dataclass
class WindowReport:
    """What a window did. `already_done` means that nothing was left to do."""

    ds: str
    already_done: bool = False
    model: str = ""
    modalities: list[dict[str, Any]] = field(default_factory=list)
    """Per modality what detect found, and the texts encoded."""
    changed_users: int = 0
    changed_summaries: int = 0
    """User-modality pairs whose summary was recomputed."""
    prefixes: int = 0
    active_users: int = 0
    texts_encoded: int = 0
    rows: int = 0
    """Rows materialized, over all feature views."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds per step."""

    @property
    def share(self) -> float:
        """Prefixes computed over those of a full recompute."""
        return self.prefixes / self.active_users if self.active_users else 0.0

    def to_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {**asdict(self), "share": round(self.share, 4)}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)


def run_window(context: Context, pool: ProcessPool, ds: date, progress: Progress = no_progress) -> WindowReport:
    """Run one window. A window that is committed is left as it is.

    Raises:
        NotLandedError, DataRefusedError, WindowOrderError, ConcurrentUpdateError: see the steps.
        UnfinishedWorkError: an earlier window was started and not finished.
    """
    window = context.window(ds)
    report = WindowReport(str(window), model=context.live_model().name)
    record = context.ledger.window(ds)
    if record is not None and record.completed_at is not None:
        report.already_done = True
        return report
    with window_events(context, window):
        check_previous(context, window)
        open_window(context, window)  # a window that is refused leaves no audit row
        audit.record(context, "run", ds=str(ds))
        num_users = prepare(context, pool, window, report, progress)
        with report.step("refresh"):
            buckets = range(context.settings.buffer.num_buckets)
            done = 0
            for group in refresh_days(pool, [ds], buckets, num_users):
                done += len(group)
                progress(f"refreshing {window}", done, len(buckets))
        finish(context, window, report)
    write_configured(context)
    return report


def prepare(context: Context, pool: ProcessPool, window: Window, report: WindowReport, progress: Progress) -> int:
    """Open the window, detect its changes and encode its new texts.

    Returns the number of users that changed in the modality in which most did.
    """
    open_window(context, window)
    num_users = 0
    with report.step("detect"), connect(context.settings.paths.state) as connection:
        for modality in context.settings.modalities:
            num_users = max(num_users, detect(context, window, modality, progress, connection).changed_users)
    with report.step("encode"):
        vectors = text_vectors(context)
        for modality in context.settings.modalities:
            encode(context, window, modality, pool.encode, progress, vectors)
    return num_users


def finish(context: Context, window: Window, report: WindowReport) -> None:
    """Publish, materialize and commit a window whose buckets are refreshed; fills in the report's counts.

    With `[run] verify_before_publish` a sample of the recomputed users is verified before anything of it is online.

    Raises:
        VerificationError: something differs; the online store keeps its values, and the window is not committed.
    """
    with report.step("publish"):
        counts = publish(context, window)
    if context.settings.run.verify_before_publish:
        with report.step("verify"):
            _audit(context, window)
    with report.step("materialize"):
        rows = materialize(context, window)
    report.changed_users, report.changed_summaries = counts["changed_users"], counts["changed_summaries"]
    report.prefixes, report.active_users = counts["prefixes"], counts["active_users"]
    report.rows = sum(rows.values())
    for modality in context.settings.modalities:
        encoded = encoded_before(context, window, modality).texts_encoded
        report.modalities.append({**asdict(detected(context, window, modality)), "texts_encoded": encoded})
        report.texts_encoded += encoded
    with report.step("commit"):
        commit(context, window, report.to_json())


def _audit(context: Context, window: Window) -> None:
    from updater.pipeline.monitor.verify import verify_recomputed
    from updater.pipeline.monitor.verify_compare import raise_if_different

    report = verify_recomputed(context, window, context.settings.run.verify_before_publish)
    try:
        raise_if_different(report)
    except VerificationError as error:
        raise VerificationError(f"{window} is not online and not committed: {error}") from None


def missing_days(context: Context, from_date: date, to_date: date) -> list[date]:
    """Days of the range that have no committed window, oldest first; both dates are inclusive."""
    done = {record.ds for record in context.ledger.windows() if record.completed_at is not None}
    return [ds for ds in days(from_date, to_date) if ds not in done]


def check_previous(context: Context, window: Window) -> None:
    """Raise UnfinishedWorkError if an earlier window was started and not finished."""
    unfinished = [ds for ds in context.ledger.unfinished_windows() if ds < window.ds]
    if unfinished:
        raise UnfinishedWorkError(
            f"{unfinished[0]} was started but not finished; run `updater backfill --from-date "
            f"{unfinished[0]} --to-date {window}`.",
            kind="window",
            ds=unfinished[0],
        )
