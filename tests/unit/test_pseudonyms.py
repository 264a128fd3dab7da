"""The keyed hash, its key, and that none of it can be read off anything that is shown."""

import hmac
from datetime import date
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import bill, event_table, land_rows
from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.errors import ConfigError
from updater.lake.landing import read_partition
from updater.lake.partitions import mark_success, write_partition
from updater.lake.pseudonyms import Pseudonyms, known_id, pseudonyms
from updater.settings import Limits, load_settings

KEY = "6f0c4d4b1f7a4a1e9d2b8c3e5a7f9081"
HASHES = Pseudonyms(KEY.encode())
ON = {"pseudonymize": True}
BILL = Modality(name="bill", text="{category} at {merchant}", numeric=("amount",))
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def plain_hmac(key: bytes, user_id: str) -> str:
    return hmac.new(key, user_id.encode(), sha256).hexdigest()


def test_a_pseudonym_is_a_known_answer():
    """RFC 4231, test case 2, so that a company can compute the same with any library."""
    assert Pseudonyms(b"Jefe").of("what do ya want for nothing?") == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@given(key=st.binary(min_size=32, max_size=150), ids=st.lists(IDS, min_size=1, max_size=5))
def test_columns_give_the_same_pseudonyms(key, ids):
    hashes = Pseudonyms(key)
    expected = [plain_hmac(key, user_id) for user_id in ids]
    assert [hashes.of(user_id) for user_id in ids] == expected
    assert hashes.column(pa.chunked_array([ids])).to_pylist() == expected


@pytest.mark.parametrize(
    "type_",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int8(), pa.string()),
    ],
)
def test_every_type_of_an_id_column(type_):
    ids = ["u1", "", None, "u1", "ü"]
    column = HASHES.column(pa.chunked_array([pa.array(ids[:2]).cast(type_), pa.array(ids[2:]).cast(type_)]))
    assert column.to_pylist() == [HASHES.of(user) if user else user for user in ids]
    assert column.type == pa.string()


def test_what_is_shown_reveals_no_key():
    assert KEY not in repr(HASHES)
    assert len(HASHES.fingerprint) == 16
    assert HASHES.fingerprint != Pseudonyms(KEY.upper().encode()).fingerprint


def test_a_missing_or_short_key_is_refused_without_showing_it(make_settings):
    settings = make_settings(privacy=ON)
    with pytest.raises(ConfigError, match=r"\$UPDATER_ID_KEY, which is not set"):
        pseudonyms(settings, {})
    with pytest.raises(ConfigError, match="shorter than 32 bytes") as caught:
        pseudonyms(settings, {"UPDATER_ID_KEY": KEY[:-1]})
    assert KEY[:-1] not in str(caught.value)
    assert pseudonyms(settings, {"UPDATER_ID_KEY": KEY}) is not None


def test_the_key_may_have_another_name(make_settings, monkeypatch):
    settings = make_settings(privacy={**ON, "key_env": "COMPANY_KEY"})
    monkeypatch.setenv("COMPANY_KEY", KEY)
    assert known_id(settings, "u1") == HASHES.of("u1")
    assert known_id(make_settings("off"), "u1") == "u1"


@pytest.mark.parametrize("name", [KEY, "UPDATER_LEDGER__URL", "", "A-B"])
def test_a_name_that_is_none_is_refused_and_may_be_the_key(make_settings, name):
    with pytest.raises(ConfigError, match="key_env") as caught:
        make_settings(privacy={"key_env": name})
    assert KEY not in str(caught.value)


def test_the_variable_of_the_key_is_no_setting(make_settings):
    settings = make_settings(privacy=ON)
    assert load_settings(settings.source, {"UPDATER_ID_KEY": KEY, "UPDATER_ACTOR": "ann"}) == settings


def test_rejected_rows_have_pseudonyms_too(tmp_path: Path):
    ok = bill("u-secret-1", "e1", "2024-05-01 10:00:00")
    bad = [
        {**ok, "user_id": "u-secret-2", "event_id": None},
        {**ok, "user_id": "u-secret-3" * 40},
        {**ok, "user_id": ""},
        {**ok, "user_id": None},
    ]
    land_rows(str(tmp_path), "bill", date(2024, 5, 1), [ok, *bad])
    directory = str(tmp_path / "bill" / "ds=2024-05-01")
    landed = read_partition(directory, BILL, day_window(date(2024, 5, 1), "UTC"), Limits(), 4, HASHES)
    assert landed.events["user_id"].to_pylist() == [HASHES.of("u-secret-1")]
    reasons = ["event_id is null", "user_id is longer than 256 bytes", "user_id is empty", "user_id is null"]
    assert landed.rejected["reason"].to_pylist() == reasons
    rows = "".join(landed.rejected["row"].to_pylist())
    assert "secret" not in rows
    assert HASHES.of("u-secret-2") in rows and HASHES.of("u-secret-3" * 40) in rows


def test_an_id_that_is_not_utf8_is_rejected_and_hashed(tmp_path: Path):
    table = event_table([bill("u1", "e1", "2024-05-01 10:00:00")])
    table = table.set_column(0, "user_id", pa.array([b"secret\xff"], pa.binary()))
    write_partition(str(tmp_path), date(2024, 5, 1), table)
    mark_success(str(tmp_path), date(2024, 5, 1))
    window = day_window(date(2024, 5, 1), "UTC")
    landed = read_partition(str(tmp_path / "ds=2024-05-01"), BILL, window, Limits(), 4, HASHES)
    assert landed.rejected["reason"].to_pylist() == ["user_id is not UTF-8"]
    assert hmac.new(KEY.encode(), b"secret\xff", sha256).hexdigest() in landed.rejected["row"][0].as_py()
    assert "secret" not in landed.rejected["row"][0].as_py()
