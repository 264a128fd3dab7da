"""Files of users' ids as people make them: with spreadsheets, editors, queries and pipes."""

import csv
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Sequence
from io import BytesIO, StringIO
from typing import BinaryIO

from updater.errors import ConfigError

# UTF-32's mark begins with that of UTF-16.
MARKS = {
    BOM_UTF32_LE: "utf-32-le",
    BOM_UTF32_BE: "utf-32-be",
    BOM_UTF8: "utf-8",
    BOM_UTF16_LE: "utf-16-le",
    BOM_UTF16_BE: "utf-16-be",
}
PARQUET = b"PAR1"
LINE_END = re.compile(r"\r\n|\n|\r")
MARK = "\ufeff"
"""A byte order mark, which concatenated files have in their middle too."""


def read_ids(file: BinaryIO, column: str | None = None) -> list[str]:
    """The ids of a file, each once: one per line, or those in a column of a table.

    A table is a Parquet file, whose ids are in `user_id` unless `column` names another, or with `column` a CSV file
    with a header. Text is UTF-8, or what its byte order mark says. Blanks around ids and empty ones are left out.
    Nothing is guessed: another id is another user.

    Raises:
        ConfigError: the file cannot be read, is no such text, or has no such column.
    """
    name = getattr(file, "name", "the input")
    try:
        content = file.read()
    except OSError as error:
        raise ConfigError(
            f"{name} cannot be read ({error.strerror or error}); give a file with one id per line."
        ) from None
    if content.startswith(PARQUET):
        ids = _parquet_column(content, column or "user_id", name)
    elif column is not None:
        ids = _csv_column(_text(content, name), column, name)
    else:
        ids = LINE_END.split(_text(content, name))
    stripped = (each.replace(MARK, " ").strip() if MARK in each else each.strip() for each in ids)
    return list(dict.fromkeys(filter(None, stripped)))


def _text(content: bytes, name: str) -> str:
    mark = next((mark for mark in MARKS if content.startswith(mark)), b"")
    try:
        text = content[len(mark) :].decode(MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        line = 1 + len(LINE_END.findall(content[: error.start].decode("latin-1")))
        what = f"is not {error.encoding.upper()}" + ("" if mark else f" in line {line}")
        raise ConfigError(f"{name} {what}; save it as text in UTF-8, with one id per line.") from None
    if "\0" in text:
        raise ConfigError(f"{name} contains zero bytes; save it as text in UTF-8, with one id per line.")
    return text


def _csv_column(text: str, column: str, name: str) -> list[str]:
    # A quoted field may hold line ends, so the parser finds them itself.
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if header.count(column) != 1:
            raise _no_column(name, column, header)
        place = header.index(column)
        return [row[place] for row in rows if len(row) > place]
    except csv.Error as error:
        raise ConfigError(f"{name} is not a CSV file ({error} in line {rows.line_num}); fix that line.") from None


def _parquet_column(content: bytes, column: str, name: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(BytesIO(content))
        if file.schema_arrow.names.count(column) != 1:
            raise _no_column(name, column, file.schema_arrow.names)
        ids = file.read([column])[column]
        # A float may have another text than the id that it once was.
        if pa.types.is_floating(ids.type):
            raise ConfigError(f"{name} has numbers with decimals in column {column!r}; write ids as text.")
        ids = ids.cast(pa.string())
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{name} has no readable ids in column {column!r} ({reason}); write them as text.") from None
    return [each for each in ids.to_pylist() if each is not None]


def _no_column(name: str, column: str, header: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"{name} needs exactly one column {column!r}; name one of {', '.join(header)} with --users-column."
    )
