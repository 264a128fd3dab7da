"""Event files: landed days merged into their month, and dropped when no window can reach them."""

from datetime import datetime

from updater.domain.compaction import EventsPlan, plan_events
from updater.domain.declared.modality import Modality
from updater.lake import partitions
from updater.pipeline.compact.report import Part
from updater.pipeline.compact.scope import Scope
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext
from updater.state.event_store import connect
from updater.state.merge import merge_events


def plan_event_files(context: Context, scope: Scope, modality: Modality) -> EventsPlan:
    """What is to become of the event files of a modality."""
    records = context.ledger.partitions(modality.name, to_date=scope.watermark)
    names = {record.ds: record.events_file for record in records if record.events_file}
    is_stream = modality.kind == "stream"
    return plan_events(names, is_stream, scope.watermark, scope.earliest_recomputable, context.settings.buffer.days)


def count_events(plan: EventsPlan, num_shards: int) -> Part:
    """The files that a plan is about."""
    return Part(
        merged=num_shards * sum(len(set(merge.names.values())) for merge in plan.merges),
        made=num_shards * len(plan.merges),
        dropped=num_shards * len(set(plan.dropped.values())),
    )


def compact_events(context: WritableContext, scope: Scope, modality: Modality, plan: EventsPlan) -> None:
    """Merge and drop event files of a modality: the new files first, one per shard, then the ledger, which all readers
    ask.

    A day that is recorded again meanwhile keeps its month as it is until the next maintenance.
    """
    with connect(context.settings.paths.state) as connection:
        for merge in plan.merges:
            for shard in context.shards:
                files = [context.event_file(modality.name, ds, name, shard) for ds, name in merge.names.items()]
                path = f"{context.layout.events(modality.name)}/{context.shards.file(merge.target, shard)}"
                with crash_point("merged_events"):
                    buckets = context.shards.buckets(shard)
                    merge_events(connection, modality, files, buckets, merge.newest_only, path)
            with crash_point("swapped"):
                context.ledger.swap_event_files(modality.name, merge.names, merge.target, scope.num_erased)
    if plan.dropped:
        with crash_point("dropped"):
            context.ledger.swap_event_files(modality.name, plan.dropped, None, scope.num_erased)


def unnamed_files(context: Context, scope: Scope, modality: Modality) -> list[str]:
    """Event files that the ledger names for no landed day up to the watermark: merged, restated, or left by a kill."""
    root = context.layout.events(modality.name)
    named = {
        file.path
        for record in context.ledger.partitions(modality.name)
        if record.events_file
        for file in context.files_of_day(modality.name, record.ds, record.events_file)
    }
    settled = f"ds={scope.watermark.isoformat()}"
    return [
        path
        for directory, paths in partitions.list_tree(root).items()
        if not directory.startswith("ds=") or directory <= settled
        for path in paths
        if path not in named
    ]


def named_at(context: Context) -> dict[str, datetime]:
    """By directory of a landed day when the ledger was told which of its event files are read."""
    return {
        context.layout.event_file(record.modality, record.ds, "").rstrip("/"): record.recorded_at
        for record in context.ledger.partitions()
    }
