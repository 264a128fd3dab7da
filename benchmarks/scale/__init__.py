"""How the cost of a window, and of the ledger, follows the number of users, buckets and shards."""

from collections.abc import Iterator

from benchmarks.row import Row


def rows(smoke: bool) -> Iterator[Row]:
    """The section `scale` of the benchmarks. Imported when it is run: it is a program of its own as well."""
    from benchmarks.scale.ratios import rows as measured_rows

    return measured_rows(smoke)
