"""Erased users in the ledger: here on SQLite, in tests/integration/test_ledger_servers.py on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.test_ledger_heads import history as record
from tests.unit.test_ledger_records import DAY, NOW, ledger_url, partition, writer  # noqa: F401
from updater.domain.erasure import Erased, erasure_hash
from updater.errors import ConcurrentUpdateError
from updater.ledger import Head, LedgerWriter

FIRST = Head(bucket=3, ds=DAY, digest="d1", generation=0, model_version=1, scenarios={}, modalities={})


def test_erased_users_are_known_by_keyed_hashes_only(writer: LedgerWriter) -> None:  # noqa: F811
    assert "ann" not in writer.erased()
    erased = writer.record_erasures(["ann", "bø"], NOW)
    assert writer.record_erasures(["ann"], NOW + timedelta(days=1)) == erased == writer.erased()
    assert ("ann" in erased, "bø" in erased, "Ann" in erased, len(erased)) == (True, True, False, 2)
    assert erased.among(["bob", "ann"]) == {"ann"}
    assert erased.hashes == {erasure_hash(erased.salt, "ann"), erasure_hash(erased.salt, "bø")}
    assert "ann" not in Erased(salt="00" * 32, hashes=erased.hashes), "another ledger has other hashes"


def test_what_was_read_before_an_erasure_is_refused(writer: LedgerWriter) -> None:  # noqa: F811
    before = len(writer.erased())
    writer.record_partition(partition(), before)
    assert writer.move_head(None, FIRST, record(FIRST), before)
    after = len(writer.record_erasures(["ann"], NOW))
    second = replace(FIRST, ds=DAY + timedelta(days=1), digest="d2")
    with pytest.raises(ConcurrentUpdateError, match="Users were erased while this ran; run the same command again"):
        writer.record_partition(partition("visit"), before)
    with pytest.raises(ConcurrentUpdateError, match="Users were erased"):
        writer.move_head(FIRST, second, record(second), before)
    assert (writer.partition("visit", DAY), writer.head(3)) == (None, FIRST)
    writer.record_partition(partition("visit"), after)
    assert writer.move_head(FIRST, second, record(second), after)


def test_an_event_file_is_replaced_once(writer: LedgerWriter) -> None:  # noqa: F811
    writer.record_partition(partition())
    for _ in range(2):
        writer.replace_events("bill", DAY, "abc.parquet", "def.parquet", 3)
    found = writer.partition("bill", DAY)
    assert found == replace(partition(), events_file="def.parquet", num_erased=3)


def test_a_bucket_record_and_its_head_change_together(writer: LedgerWriter) -> None:  # noqa: F811
    second = replace(FIRST, ds=DAY + timedelta(days=1), digest="d2")
    for head in (FIRST, second):
        writer.open_window(head.ds, NOW, NOW)
    assert writer.move_head(None, FIRST, record(FIRST)) and writer.move_head(FIRST, second, record(second))
    older = replace(record(FIRST), digest="e1", files=["f"])
    writer.replace_bucket_record(record(FIRST), older)
    assert (writer.head(3), writer.bucket_history(3)) == (second, [older, record(second)])
    writer.replace_bucket_record(record(second), replace(record(second), digest="e2"))
    assert writer.head(3) == replace(second, digest="e2")
    with pytest.raises(ConcurrentUpdateError, match="changed for 2026-01-05 by another command"):
        writer.replace_bucket_record(record(FIRST), older)


def test_an_erasure_is_done_once_it_says_so(writer: LedgerWriter) -> None:  # noqa: F811
    erased = writer.record_erasures(["ann"], NOW)
    assert writer.unfinished_erasures() == 1
    for _ in range(2):
        writer.complete_erasures(sorted(erased.hashes), "bob", NOW)
    assert writer.unfinished_erasures() == 0
    (row,) = writer.audit()
    assert (row.actor, row.action, row.subject) == ("bob", "erase", {"user_hash": erasure_hash(erased.salt, "ann")})
