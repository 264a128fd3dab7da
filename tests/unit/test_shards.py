"""Shards: which buckets they have, and which files the ledger's name for a landed day stands for."""

import pytest

from updater.domain.shards import Shards, parts_of
from updater.errors import ConfigError
from updater.settings import Buffer
from updater.state.event_store import EventFile
from updater.state.rewrite import events_name, replacing

ONE, FOUR = Shards(16, 1), Shards(16, 4)
NAME = events_name("0a1b", "2c3d4e5f")


def test_shards_are_runs_of_buckets_that_have_each_bucket_once() -> None:
    assert [bucket for shard in FOUR for bucket in FOUR.buckets(shard)] == list(range(16))
    assert all(FOUR.shard(bucket) == shard for shard in FOUR for bucket in FOUR.buckets(shard))
    assert (FOUR.of([15, 4, 5]), FOUR.of([]), list(ONE)) == ([1, 3], [0, 1, 2, 3], [0])


def test_one_shard_has_the_names_that_there_were_before() -> None:
    assert (ONE.file(NAME, 0), ONE.file("merged/a_b-cd.parquet", 0)) == (NAME, "merged/a_b-cd.parquet")
    assert ONE.names(NAME, NAME) and not ONE.names(NAME, "other.parquet")
    assert ONE.renamed(NAME, "new.parquet") == "new.parquet"


def test_each_shard_has_a_file_of_its_own() -> None:
    assert FOUR.file(NAME, 3) == "shard-003-0a1b-2c3d4e5f.parquet"
    assert FOUR.file("merged/a_b-cd.parquet", 3) == "merged/shard-003-a_b-cd.parquet"
    assert FOUR.file("changes.parquet", 0) == "shard-000-changes.parquet"
    assert parts_of(FOUR.file(NAME, 3)) == ("shard-003-", "0a1b", "2c3d4e5f")
    assert parts_of(NAME) == ("", "0a1b", "2c3d4e5f")


def test_a_rewritten_shard_is_named_and_the_others_keep_their_files() -> None:
    name = NAME
    for content in (b"first", b"second"):
        before = FOUR.file(name, 2)
        new = replacing(before, content)
        assert new != before and FOUR.names(name, before) and not FOUR.names(name, new)
        name = FOUR.renamed(name, new)
        assert FOUR.names(name, new) and not FOUR.names(name, before)
        assert [FOUR.file(name, shard) for shard in (0, 1, 3)] == [FOUR.file(NAME, shard) for shard in (0, 1, 3)]
    assert name.count("+") == 1
    other = replacing(FOUR.file(name, 0), b"first")
    both = FOUR.renamed(name, other)
    assert (FOUR.file(both, 0), FOUR.file(both, 2)) == (other, FOUR.file(name, 2))


def test_a_file_landed_without_erased_users_is_rewritten_under_the_mark_of_what_is_left() -> None:
    landed = events_name("0a1b", "2c3d4e5f", b"landed")
    new = replacing(FOUR.file(landed, 1), b"left")
    assert new == f"shard-001-{events_name('0a1b', '2c3d4e5f', b'left')}"
    assert FOUR.file(FOUR.renamed(landed, new), 1) == new


def test_only_files_of_other_shards_are_left_out() -> None:
    assert FOUR.may_hold("shard-001-changes.parquet", [4])
    assert not FOUR.may_hold("shard-001-changes.parquet", [3, 8])
    assert FOUR.may_hold("changes.parquet", [3])
    file = EventFile(None, "", buckets=FOUR.buckets(1))  # type: ignore[arg-type]  # the day does not matter
    assert (file.may_hold([7, 8]), file.may_hold([8]), file.may_hold([])) == (True, False, True)


def test_shards_divide_the_buckets() -> None:
    with pytest.raises(ConfigError, match=r"num_shards is 3, which does not divide buffer.num_buckets, 16"):
        Buffer(num_shards=3)
    assert Buffer(num_buckets=12, num_shards=3).num_shards == 3
