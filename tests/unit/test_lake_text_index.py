"""The index of text ids against a dictionary."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from updater.state.text_index import TextIndex

# Few values per half, so that first halves are the same though the ids are not.
HALVES = st.sampled_from([bytes(8), b"\x01" + bytes(7), b"\xff" * 8, bytes(7) + b"\x01"])
IDS = st.lists(st.tuples(HALVES, HALVES).map(b"".join), max_size=12)


def as_array(ids: list[bytes]) -> pa.Array:
    return pa.array(ids, pa.binary(16))


@given(st.lists(IDS, max_size=4), IDS, st.integers(0, 3))
def test_rows_are_those_of_a_dictionary_however_ids_came(
    parts: list[list[bytes]], asked: list[bytes], cut: int
) -> None:
    index, known, num_rows = TextIndex(), dict[bytes, set[int]](), 0
    for number, part in enumerate(parts):
        index.add(as_array(part))
        for row, text_id in enumerate(part, start=num_rows):
            known.setdefault(text_id, set()).add(row)
        num_rows += len(part)
        if number % 2:
            index.rows(as_array(asked))  # merges what has come so far
    found = index.rows(as_array(asked).slice(cut)).tolist()
    assert len(found) == len(asked[cut:])
    for text_id, row in zip(asked[cut:], found, strict=True):
        assert row in known.get(text_id, {-1})
