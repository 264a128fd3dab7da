"""Look-alikes among many users: `python -m benchmarks.similar`. Vectors are made up (random directions, float32).

What `updater user similar` reads and computes once it knows who is there: the newest rows of one view, out of a file
per bucket, and the exact cosines to one of them. Beside it: the same out of memory, a plain product in float32, and how
many of its top are ours (recall), for whoever thinks of an approximate index.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from updater.domain.buckets import bucket_of
from updater.domain.columns import embedding
from updater.domain.declared.scenario import Scenario
from updater.lake import partitions
from updater.pipeline.asking.nearest import Vectors, nearest
from updater.state.embeddings import read_newest, scenario_rows
from updater.state.layout import StateLayout

DAY, NOW = date(2025, 1, 1), datetime(2025, 1, 2, tzinfo=UTC)
SCENARIO = Scenario(name="lapse", domain="risk", query="made up")
BUCKETS = 16


def main() -> None:
    """Write made-up rows, and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.similar", description=__doc__)
    parser.add_argument("--users", type=int, default=100_000, help="made-up users")
    parser.add_argument("--dim", type=int, default=128, help="numbers of a vector")
    parser.add_argument("--top", type=int, default=50, help="look-alikes")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement; the median is shown")
    given = parser.parse_args()
    draw = np.random.default_rng(0)
    users = [f"user{number:08}" for number in range(given.users)]
    vectors = draw.normal(size=(given.users, given.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    buckets: list[list[int]] = [[] for _ in range(BUCKETS)]
    for row, user in enumerate(users):
        buckets[bucket_of(user, BUCKETS)].append(row)
    with TemporaryDirectory(prefix="updater-similar-") as root:
        layout = StateLayout(root)
        for bucket, rows in enumerate(buckets):
            table = scenario_rows(SCENARIO, "v1", [users[row] for row in rows], vectors[rows], NOW, NOW)
            partitions.write_table(layout.bucket_file("lapse_v1", DAY, bucket, 0), table)
        num_bytes = sum(path.stat().st_size for path in Path(root).rglob("*.parquet"))

        def stored() -> Iterator[Vectors]:
            for bucket, rows in enumerate(buckets):
                wanted = pa.table({"user_id": [users[row] for row in rows]})
                table = read_newest(layout.offline("lapse_v1"), bucket, wanted)
                flat = table[embedding("lapse")].combine_chunks().flatten().to_numpy()
                yield table["user_id"].to_pylist(), flat.reshape(table.num_rows, -1)

        asked = draw.integers(0, given.users, given.repeats)
        from_files = [_timed(lambda row=row: nearest(stored(), vectors[row], given.top)) for row in asked]
    in_memory = [_timed(lambda row=row: nearest([(users, vectors)], vectors[row], given.top)) for row in asked]
    product = [_timed(lambda row=row: _largest(vectors @ vectors[row], given.top)) for row in asked]
    recalls = [
        len({users[row] for row in rows} & {user for user, _ in ours}) / given.top
        for (_, rows), (_, ours) in zip(product, in_memory, strict=True)
    ]
    assert [found for _, found in from_files] == [found for _, found in in_memory]
    for name, found in (("out of files", from_files), ("out of memory", in_memory), ("float32 product", product)):
        print(f"{name:16} {1000 * np.median([seconds for seconds, _ in found]):8.1f} ms")
    print(f"recall of the float32 product: {np.mean(recalls):.4f} of the top {given.top}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{given.users:,} users of {given.dim} numbers, {num_bytes / 2**20:.0f} MiB of files, peak {peak:,.0f} MiB")


def _timed(work):
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def _largest(values: np.ndarray, top: int) -> np.ndarray:
    return np.argpartition(-values, top)[:top]


if __name__ == "__main__":
    main()
