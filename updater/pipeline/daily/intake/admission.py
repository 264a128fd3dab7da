"""Whether a window may run: in order, without gaps, once its day has landed, and by which days the first one begins."""

import os
from collections.abc import Collection
from datetime import date

from updater.domain.declared.modality import Modality
from updater.domain.window import Window, days, first_buffer_day
from updater.errors import ConfigError, NotLandedError, UnfinishedWorkError, WindowOrderError
from updater.lake import partitions
from updater.pipeline.monitor import audit
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext, day_after, day_before


def open_window(context: WritableContext, window: Window, by: str | None = None) -> dict[str, Collection[date]]:
    """Open the window in the ledger, or find it opened by an earlier attempt.

    Args:
        context: the deployment.
        window: the window.
        by: the scheduler whose tasks work on the window, which leaves one audit row for all of them; None for a
            command, which leaves a row of its own.

    Returns:
        Days of each modality that the lake has, if they had to be listed.

    Raises:
        NotLandedError: a modality that is not optional has no `_SUCCESS` for the day.
        WindowOrderError: the window leaves a gap after the last one, or lies before the first.
        UnfinishedWorkError: a restatement has not ended.
        ConfigError: the modalities are not those of the windows before.
    """
    check_modalities(context)
    check_order(context, window)
    is_new = context.ledger.window(window.ds) is None
    in_lake = check_landed(context, window) if is_new else {}
    if is_new or by:
        subject = {"ds": str(window), "by": by}
        with crash_point("window"):
            context.ledger.open_window(
                window.ds, window.as_of, context.now, audit.actor(os.environ) if by else None, subject
            )
    return in_lake


def check_modalities(context: Context) -> None:
    """Raise ConfigError if the config lays out the prefix otherwise than the windows before: a model is made for one
    layout, and a refresh would refuse it when the window is open and its rows have landed.
    """
    head = context.ledger.head(0)
    if head is not None and [*head.modalities.items()] != [*context.modality_fingerprints().items()]:
        raise ConfigError(
            f"The modalities in {context.settings.source} are not those that the state was made with "
            f"({', '.join(head.modalities)}), or not in that order, or one has another max_events; "
            "set them back, or start a new state."
        )


def check_order(context: Context, window: Window) -> None:
    """Raise WindowOrderError if the window leaves a gap or lies before the first, and UnfinishedWorkError while a
    restatement is unfinished.
    """
    if context.ledger.restatement() is not None:
        last = context.ledger.watermark()
        raise UnfinishedWorkError(
            f"A restatement was started but not finished, so {window} cannot run; "
            f"run `updater backfill --from-date {context.first_window()} --to-date {last} --restate`.",
            kind="restatement",
        )
    known = sorted(record.ds for record in context.ledger.windows())
    if known and window.ds < known[0]:
        raise WindowOrderError(
            f"{window} lies before {known[0]}, the first window of this state; to have earlier "
            "days, start a new state with "
            f"`updater backfill --from-date {window} --to-date …`.",
            ds=window.ds,
        )
    if known and window.ds > (missing := day_after(known[-1])):
        raise WindowOrderError(
            f"{window} would leave a gap after {known[-1]}; run `updater backfill --from-date "
            f"{missing} --to-date {window}`.",
            ds=window.ds,
            resume_from=missing,
        )


def check_landed(context: Context, window: Window) -> dict[str, Collection[date]]:
    """Raise NotLandedError unless every modality that is not optional has landed: in the window, and for the first
    window in all of its buffer. Returns the days of each modality that the lake has, if they were listed for that.
    """
    lake = context.settings.paths.lake
    if not partitions.exists(lake):
        raise NotLandedError(
            f"The lake {lake} does not exist; set paths.lake in {context.settings.source} or land a first day there."
        )
    is_first = context.first_window() in (None, window.ds)
    in_lake: dict[str, Collection[date]] = {}
    for modality in context.settings.modalities:
        root = partitions.join(lake, modality.name)
        if is_first:
            in_lake[modality.name] = partitions.landed_days(root)
        if modality.optional:
            continue
        landed = set(in_lake.get(modality.name, ()))
        for ds in [*(landing_days(context, window, modality, landed) if is_first else []), window.ds]:
            if ds not in landed and (is_first or not partitions.has_landed(root, ds)):
                raise not_landed(context, ds, modality)
    return in_lake


def not_landed(context: Context, ds: date, modality: Modality) -> NotLandedError:
    """The error of a day without `_SUCCESS`."""
    return NotLandedError(
        f"{context.lake(modality.name, ds)} has not landed: it has no {partitions.SUCCESS}; land "
        "the day and run again, "
        f"or declare modality {modality.name!r} optional.",
        modality=modality.name,
        ds=ds,
    )


def landing_days(context: Context, window: Window, modality: Modality, in_lake: Collection[date]) -> list[date]:
    """Days that the first window has to land: all that its buffer reaches, from the first day the lake has."""
    landed = set(in_lake)
    if not landed:
        return [window.ds]
    first = first_buffer_day(window.ds, context.settings.buffer.days)
    start = min(landed) if modality.kind == "snapshot" else max(first, min(landed))
    return [ds for ds in days(start, day_before(window.ds)) if not (modality.optional and ds not in landed)]
