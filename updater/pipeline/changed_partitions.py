"""Partitions whose lake files changed after they had been processed."""

from collections.abc import Iterator
from datetime import date

from updater.domain.declared.modality import Modality
from updater.domain.window import first_buffer_day
from updater.errors import WindowOrderError
from updater.lake import partitions
from updater.lake.landed_files import files_of_days
from updater.ledger import PartitionRecord
from updater.runtime.deployment import Context


def find_rewritten(
    context: Context, from_date: date, to_date: date
) -> Iterator[tuple[Modality, date, PartitionRecord | None]]:
    """Landed days of the range (both dates inclusive) whose files hold other bytes than those that were processed.

    A day of an optional modality that landed after its window had passed has no record. Streams are looked at as
    far back as the buffer reaches. A file that was only touched counts as the same: its bytes are read to be sure.
    """
    watermark = context.ledger.watermark()
    if watermark is None:
        return
    to_date = min(to_date, watermark)
    oldest = first_buffer_day(watermark, context.settings.buffer.days)
    for modality in context.settings.modalities:
        first = from_date if modality.kind == "snapshot" else max(from_date, oldest)
        records = {
            record.ds: record for record in context.ledger.partitions(modality.name, from_date=first, to_date=to_date)
        }
        root = partitions.join(context.settings.paths.lake, modality.name)
        for ds, found in files_of_days(root, records).items() if records else ():
            if found.token != records[ds].source_etag and found.digest() != records[ds].source_digest:
                yield modality, ds, records[ds]
        if modality.optional:
            for ds in partitions.landed_days(root):
                if first <= ds <= to_date and ds not in records:
                    yield modality, ds, None


def check_recomputable(context: Context, modality: Modality, ds: date) -> None:
    """Raise WindowOrderError if what it takes to restate a landed day has been dropped."""
    earliest = context.ledger.earliest_recomputable()
    if earliest is not None and ds < earliest:
        raise WindowOrderError(
            f"{modality.name} {ds} was rewritten, but events and days are kept from {earliest} on only "
            f"([retention] history_days when the state was last maintained); begin with --from-date {earliest}, or "
            "start a new state."
        )
