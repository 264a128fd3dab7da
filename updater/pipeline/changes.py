"""Who changed in a window, as detect wrote it down: what every later step goes by."""

import pyarrow as pa

from updater.domain.window import Window
from updater.errors import WindowOrderError
from updater.lake import partitions
from updater.runtime.deployment import Context


def read_changes(context: Context, window: Window, modality: str) -> pa.Table:
    """Who changed in a modality. Raises WindowOrderError if the window has not been detected."""
    try:
        return partitions.read_table(context.layout.changes_file(modality, window.ds))
    except FileNotFoundError:
        raise WindowOrderError(
            f"{window} of modality {modality!r} has not been detected; run `updater run --ds {window}`."
        ) from None
