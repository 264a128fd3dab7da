"""One window from detect to commit, and many of them: a day is a backfill of length one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import partial
from typing import Any

from updater.domain.window import Window, days
from updater.errors import UnfinishedWorkError, VerificationError
from updater.pipeline.daily.detect import detected, log_changes
from updater.pipeline.daily.intake.admission import open_window
from updater.pipeline.daily.intake.encode import encode, encoded_before
from updater.pipeline.daily.intake.land import into_state
from updater.pipeline.daily.plan import WindowPlan, plan_changes
from updater.pipeline.daily.publishing.publish import commit, materialize, publish
from updater.pipeline.daily.refresh import refresh_days
from updater.pipeline.monitor import audit
from updater.pipeline.monitor.lineage import window_events
from updater.pipeline.monitor.prometheus import write_configured
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import text_vectors
from updater.runtime.timing import StepTimes, Stopwatch


@dataclass(frozen=True)
class WindowReport:
    """What a window did. `already_done` means that nothing was left to do."""

    ds: str
    already_done: bool = False
    model: str = ""
    modalities: Sequence[dict[str, Any]] = field(default_factory=list)
    """Per modality what detect found, and the texts encoded."""
    changed_users: int = 0
    changed_summaries: int = 0
    """User-modality pairs whose summary was recomputed."""
    prefixes: int = 0
    active_users: int = 0
    texts_encoded: int = 0
    rows: int = 0
    """Rows materialized, over all feature views."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds per step."""

    @property
    def share(self) -> float:
        """Prefixes computed over those of a full recompute."""
        return self.prefixes / self.active_users if self.active_users else 0.0

    def to_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {**asdict(self), "share": round(self.share, 4)}


def run_window(context: WritableContext, pool: ProcessPool, ds: date, progress: Progress = no_progress) -> WindowReport:
    """Run one window. A window that is committed is left as it is.

    Raises:
        NotLandedError, DataRefusedError, WindowOrderError, ConcurrentUpdateError: see the steps.
        UnfinishedWorkError: an earlier window was started and not finished.
    """
    window = context.window(ds)
    model, steps = context.live_model().name, StepTimes()
    record = context.ledger.window(ds)
    if record is not None and record.completed_at is not None:
        return WindowReport(str(window), already_done=True, model=model)
    with window_events(context, window):
        check_previous(context, window)
        in_lake = open_window(context, window)  # a window that is refused leaves no audit row
        audit.record(context, "run", ds=str(ds))
        plan = prepare(context, pool, window, steps, progress, in_lake)
        with steps("refresh"):
            buckets = range(context.settings.buffer.num_buckets)
            done = 0
            for group in refresh_days(pool, [ds], buckets, plan.changed_users):
                done += len(group)
                progress(f"refreshing {window}", done, len(buckets))
        report = finish(context, window, model, steps)
    write_configured(context)
    return report


def prepare(
    context: WritableContext,
    pool: ProcessPool,
    window: Window,
    steps: StepTimes,
    progress: Progress = no_progress,
    in_lake: Mapping[str, Collection[date]] | None = None,
) -> WindowPlan:
    """Plan a window that is open, keep what the plan says of users, and encode its texts. What is left of the plan is
    to refresh the buckets, which may be done elsewhere.
    """
    with steps("detect"):
        watch = Stopwatch()
        plan = plan_changes(context, window, partial(into_state, context), pool, progress, in_lake)
        log_changes(plan, watch)
    with steps("encode"):
        vectors = text_vectors(context)
        for modality, planned in zip(context.settings.modalities, plan.modalities, strict=True):
            encode(context, window, modality, pool.encode, progress, vectors, planned.texts)
    return plan


def finish(context: WritableContext, window: Window, model: str, steps: StepTimes) -> WindowReport:
    """Publish, materialize and commit a window whose buckets are refreshed.

    With `[run] verify_before_publish` a sample of the recomputed users is verified before anything of it is online.

    Args:
        context: the deployment.
        window: the window.
        model: name of the version that was live when the window was begun.
        steps: what the steps before took.

    Raises:
        VerificationError: something differs; the online store keeps its values, and the window is not committed.
    """
    with steps("publish"):
        counts = publish(context, window)
    if context.settings.run.verify_before_publish:
        with steps("verify"):
            _audit(context, window)
    with steps("materialize"):
        rows = materialize(context, window)
    modalities = [
        {
            **asdict(detected(context, window, modality)),
            "texts_encoded": encoded_before(context, window, modality).texts_encoded,
        }
        for modality in context.settings.modalities
    ]
    report = WindowReport(
        ds=str(window),
        model=model,
        modalities=modalities,
        changed_users=counts["changed_users"],
        changed_summaries=counts["changed_summaries"],
        prefixes=counts["prefixes"],
        active_users=counts["active_users"],
        texts_encoded=sum(counted["texts_encoded"] for counted in modalities),
        rows=sum(rows.values()),
        seconds=dict(steps.seconds),
    )
    with steps("commit"):
        commit(context, window, report.to_json())
    return replace(report, seconds=dict(steps.seconds))


def _audit(context: Context, window: Window) -> None:
    from updater.pipeline.monitor.verify import verify_recomputed
    from updater.pipeline.monitor.verify_compare import raise_if_different

    report = verify_recomputed(context, window, context.settings.run.verify_before_publish)
    try:
        raise_if_different(report)
    except VerificationError as error:
        raise VerificationError(f"{window} is not online and not committed: {error}", findings=error.findings) from None


def missing_days(context: Context, from_date: date, to_date: date, *, restated: bool = False) -> list[date]:
    """Days of the range that have no committed window, oldest first; both dates are inclusive.

    Args:
        context: the deployment.
        from_date: first day of the range.
        to_date: last day of the range.
        restated: True if the range is that of a restatement. It may begin with a partition that the first window took
            in: no window of such a day is missing.
    """
    first = context.first_window() if restated else None
    done = {record.ds for record in context.ledger.windows() if record.completed_at is not None}
    return [ds for ds in days(from_date, to_date) if ds not in done and not (first and ds < first)]


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
