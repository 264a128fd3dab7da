"""Files of ids as people make them."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from updater.cli import main
from updater.commands.common.ids import read_ids
from updater.errors import ConfigError

IDS = ["user-1", "José", "用户"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_every_encoding_that_says_what_it_is(encoding: str, end: str, last: bool) -> None:
    mark = b"" if encoding.startswith("utf-8") or not encoding.endswith("be") else "\ufeff".encode(encoding)
    text = end.join(IDS) + (end if last else "")
    assert read_ids(BytesIO(mark + text.encode(encoding))) == IDS


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("\n \n\t\r\n", []),
        (" u1\t\nu2 \n\u00a0u3\u00a0\n", ["u1", "u2", "u3"]),
        ("u1\nu2\nu1\n u2\n", ["u1", "u2"]),
        ("u1\n\ufeffu2\n", ["u1", "u2"]),
        ("a b\na,b\n\"c\"\n'd'\n", ["a b", "a,b", '"c"', "'d'"]),
        ("a\u2028b\na\x0bb\n", ["a\u2028b", "a\x0bb"]),
    ],
)
def test_blanks_empty_lines_and_repetitions_are_left_out(text: str, ids: list[str]) -> None:
    assert read_ids(BytesIO(text.encode())) == ids


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("u1\nJosé\n".encode("latin-1"), "is not UTF-8 in line 2"),
        ("u1\r\n\r\nJosé\r\n".encode("cp1252"), "is not UTF-8 in line 3"),
        ("u1\nu2\n".encode("utf-16-le"), "zero bytes"),
        (b"\xff\xfeu", "is not UTF-16-LE"),
        (b"PK\x03\x04\x14\x00\x06\x00 a spreadsheet", "zero bytes"),
        (b"u1\0\n", "zero bytes"),
    ],
)
def test_nothing_is_guessed(content: bytes, message: str) -> None:
    file = BytesIO(content)
    file.name = "ids.txt"
    with pytest.raises(ConfigError, match=f"ids.txt .*{message}.*; save it as text in UTF-8"):
        read_ids(file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_column_of_a_csv_file(encoding: str) -> None:
    text = 'name, id \r\n"An, na",u1\r\n"two\nlines", u2 \r\n\r\nx,\r\ny,u1\r\n'
    assert read_ids(BytesIO(text.encode(encoding)), "id") == ["u1", "u2"]


@pytest.mark.parametrize(
    "values", [IDS, [b"user-1", "José".encode(), "用户".encode()], pa.array(IDS).dictionary_encode()]
)
def test_a_column_of_a_parquet_file(values: list[object]) -> None:
    assert read_ids(parquet({"user_id": values, "n": [1, 2, 3]})) == IDS
    assert read_ids(parquet({"who": values}), "who") == IDS


def test_whole_numbers_are_ids_and_nulls_are_none() -> None:
    assert read_ids(parquet({"user_id": [1018, None, 7, 1018]})) == ["1018", "7"]


@pytest.mark.parametrize(
    ("file", "column", "message"),
    [
        (
            BytesIO(b"a,b\n1,2\n"),
            "id",
            "the input needs exactly one column 'id'; name one of a, b with --users-column",
        ),
        (BytesIO(b"id,id\n1,2\n"), "id", "needs exactly one column 'id'"),
        (BytesIO(b'id\n"u1\n'), "id", "is not a CSV file"),
        (BytesIO("id\nJosé\n".encode("latin-1")), "id", "is not UTF-8 in line 2"),
        (BytesIO(b"PAR1\x15\x04\xff\x00"), None, "has no readable ids in column 'user_id'"),
    ],
)
def test_nothing_is_guessed_about_tables(file: BytesIO, column: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_ids(file, column)


def test_numbers_with_decimals_are_no_ids() -> None:
    with pytest.raises(ConfigError, match="write ids as text"):
        read_ids(parquet({"user_id": [1018.0, None]}))
    with pytest.raises(ConfigError, match="name one of who with --users-column"):
        read_ids(parquet({"who": ["u"]}))


def parquet(columns: dict[str, object]) -> BytesIO:
    file = BytesIO()
    pq.write_table(pa.table(columns), file)
    file.seek(0)
    return file


def gone(path: Path) -> None:
    """Leave nothing there."""


@pytest.mark.parametrize("make", [gone, Path.mkdir, lambda path: path.write_bytes(b"\xe9\n")])
def test_a_file_that_cannot_be_read_is_a_matter_of_usage(
    tmp_path: Path, make: Callable[[Path], object], make_settings: Callable[..., object]
) -> None:
    make_settings()
    make(tmp_path / "ids.txt")
    config = next(tmp_path.rglob("*.toml"))
    done = CliRunner().invoke(
        main, ["user", "erase", "--users-file", str(tmp_path / "ids.txt"), "--config", str(config)]
    )
    assert (done.exit_code, "ids.txt" in done.output) == (2, True), done.output
    assert not isinstance(done.exception, OSError)
