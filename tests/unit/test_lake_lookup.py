"""Rows of a few users: the same as by reading everything, out of few row groups."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from updater.state.lookup import Lookup

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=40).map(sorted)


def write(path: str, rows: list[tuple[int, int]], group_rows: int) -> pa.Table:
    buckets, users = [bucket for bucket, _ in rows], [f"u{user:03}" for _, user in rows]
    table = pa.table({"bucket": pa.array(buckets, pa.int32()), "user_id": pa.array(users, pa.string())})
    table = table.append_column("row", pa.array(range(len(rows)), pa.int64()))
    pq.write_table(table, path, row_group_size=group_rows)
    return table


@given(ROWS, st.integers(1, 7), st.integers(0, 3), st.lists(st.integers(0, 31), max_size=4))
def test_what_is_found_is_what_is_there(
    rows: list[tuple[int, int]], group_rows: int, bucket: int, numbers: list[int]
) -> None:
    users = sorted({f"u{number:03}" for number in numbers})
    with TemporaryDirectory() as root:
        table = write(f"{root}/file.parquet", rows, group_rows)
        ours = table.filter(pc.equal(table["bucket"], bucket))
        expected = ours.filter(pc.is_in(ours["user_id"], value_set=pa.array(users, pa.string())))
        lookup, path = Lookup(), f"{root}/file.parquet"
        assert lookup.rows(path, users, ("bucket", bucket)).to_pylist() == expected.to_pylist()
        everywhere = table.filter(pc.is_in(table["user_id"], value_set=pa.array(users, pa.string())))
        keys = lookup.keys(path, users, ["bucket"]).to_pylist()
        found = [lookup.at(path, key["group"], [key["row"]]).to_pylist()[0] for key in keys]
        assert found == everywhere.to_pylist()
        for first in ["", *users]:
            known = sorted({user for user in ours["user_id"].to_pylist() if user >= first})
            assert list(lookup.users_from(path, first, ("bucket", bucket))) == known


def test_few_users_are_read_from_few_row_groups(tmp_path: Path) -> None:
    path = str(tmp_path / "file.parquet")
    write(path, [(bucket, user) for bucket in range(5) for user in range(100)], 8)
    lookup = Lookup()
    assert lookup.rows(path, ["u050", "u051"], ("bucket", 2)).num_rows == 2
    # 200 rows lie before the bucket, so it begins and ends within no group; in bucket 1 it does.
    assert lookup.rows_read <= 8
    assert lookup.rows(path, ["u050"], ("bucket", 1)).num_rows == 1
    assert lookup.rows_read <= 16, "not the groups as well that hold the ends of the bucket"
