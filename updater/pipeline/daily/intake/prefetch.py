"""Landing and encoding days ahead of their windows, for training and evaluation, which read further than the update.

Both are pure in the landed rows, so a window that comes to such a day later finds it done and changes no value.
"""

from datetime import date

from updater.domain.window import days
from updater.lake import partitions
from updater.pipeline.daily.intake.encode import encode_files
from updater.pipeline.daily.intake.land import land_day
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool

MANY_DAYS = 32
"""So many new days bring texts enough for several processes, which can be made ready while the days are landed."""


def land_and_encode(
    context: WritableContext, pool: ProcessPool, first: date, last: date, progress: Progress = no_progress
) -> None:
    """Turn the lake's days from `first` to `last`, inclusive, into events and vectors; what is done is left alone.

    Of a snapshot all landed days up to `last` are taken, because none of them expires.

    Raises:
        NotLandedError: a day of a modality that is not optional has not landed.
        DataRefusedError: a partition's schema is wrong, or too much of it is rejected.
    """
    for modality in context.settings.modalities:
        landed = set(partitions.landed_days(partitions.join(context.settings.paths.lake, modality.name)))
        if modality.kind == "snapshot":
            wanted = sorted(ds for ds in landed if ds <= last)
        else:
            wanted = [ds for ds in days(first, last) if ds in landed or not modality.optional]
        known = {record.ds for record in context.ledger.partitions(modality.name)}
        if len(set(wanted) - known) >= MANY_DAYS:
            pool.warm_up()
        for done, ds in enumerate(wanted):
            progress(f"landing {modality.name}", done, len(wanted))
            land_day(context, ds, modality)
        files = [file for file in context.event_files(modality.name, last) if file.ds in set(wanted)]
        encode_files(context, files, pool.encode, modality.name, progress)
