"""Files of one bucket below a root of day partitions: `<root>/ds=…/bucket-NNN.parquet`."""

from datetime import date

from updater.lake import partitions


def file_name(bucket: int, generation: int) -> str:
    """Name of a bucket's file in a day's partition; a restated generation lies beside the first."""
    return f"bucket-{bucket:03d}.parquet" if generation == 0 else f"bucket-{bucket:03d}-g{generation}.parquet"


def bucket_files(root: str, bucket: int, last: date | None = None) -> list[str]:
    """Files of a bucket below `root` up to day `last` (inclusive; None means all), oldest day first."""
    names = (f"bucket-{bucket:03d}.", f"bucket-{bucket:03d}-")
    days = [partitions.join(root, day) for day in partitions.list_names(root) if day.startswith("ds=")]
    if last is not None:
        days = [path for path in days if path.rsplit("/", 1)[1] <= f"ds={last.isoformat()}"]
    return [path for day in days for path in partitions.list_files(day) if path.rsplit("/", 1)[1].startswith(names)]
