"""Checks and conversions of single lake rows, column by column."""

from collections.abc import Iterator
from datetime import UTC, datetime
from math import isfinite
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from updater.domain.declared.modality import Modality
from updater.domain.window import Window
from updater.lake.schemas import is_text, is_uuid
from updater.settings import Limits

IS_DELETED = "is deleted"
"""Column of a checked table. Names with a space are ours: a lake's column may have any other name."""
UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_800
"""The calendar: the years 1 to 9999, in seconds since the epoch."""
OUT_OF_RANGE = "<value out of range"
"""What Arrow begins the text of a date with that no calendar has."""


class _Reasons:
    """The first reason why each row is rejected."""

    def __init__(self, num_rows: int) -> None:
        self.array = pa.nulls(num_rows, pa.string())

    def add(self, bad: pa.Array, reason: str) -> None:
        first = pc.and_(pc.fill_null(bad, False), pc.is_null(self.array))
        if pc.any(first).as_py():
            self.array = pc.if_else(first, reason, self.array)


def plain(table: pa.Table) -> pa.Table:
    """`table` without dictionaries, views and extension types; UUIDs become strings in their usual notation."""
    return pa.table({name: _plain(table[name].combine_chunks()) for name in table.column_names})


def _plain(values: pa.Array) -> pa.Array:
    if pt.is_dictionary(values.type):
        return _plain(values.dictionary_decode())
    if is_uuid(values.type):
        raw = values.storage.to_pylist()
        return pa.array([None if value is None else str(UUID(bytes=value)) for value in raw], pa.string())
    if isinstance(values.type, pa.BaseExtensionType):
        return _plain(values.storage)
    if pt.is_string_view(values.type) or pt.is_binary_view(values.type):
        return values.cast(pa.large_binary())  # a view cannot be taken rows from
    return values


def check(table: pa.Table, modality: Modality, window: Window, limits: Limits) -> tuple[pa.Table, pa.Array]:
    """Convert the columns of a lake file; per row the reason for rejecting it, or null.

    Takes a `plain` table. Returns it with `user_id`, `event_id` and text columns as strings, `event_time` as naive UTC
    microseconds, numeric columns as float64, rounded ones as their texts and IS_DELETED from `op`, and the reasons.
    Rejected rows hold unusable values.
    """
    reasons = _Reasons(table.num_rows)
    columns: dict[str, pa.Array] = {}
    for name in ("user_id", "event_id"):
        values = columns[name] = _utf8(_flat(table[name]), reasons, name)
        reasons.add(pc.is_null(values), f"{name} is null")
        reasons.add(pc.equal(values, ""), f"{name} is empty")
        reasons.add(
            pc.greater(pc.binary_length(values), limits.max_id_bytes),
            f"{name} is longer than {limits.max_id_bytes} bytes",
        )
    columns["event_time"] = _time(_flat(table["event_time"]), reasons)
    reasons.add(pc.is_null(columns["event_time"]), "event_time is null or cannot be parsed")
    end = pa.scalar(window.end.replace(tzinfo=None), pa.timestamp("us"))
    reasons.add(pc.greater_equal(columns["event_time"], end), "event_time is later than the end of the landing day")
    columns[IS_DELETED] = _deleted(table, reasons)
    alive = pc.invert(columns[IS_DELETED])
    for name in modality.columns:
        values = _flat(table[name])
        rounded = [how for column, how in modality.rounded_columns if column == name]
        if name in modality.numeric or rounded:
            numbers = _number(values, reasons, name, alive)
            if name in modality.numeric:
                columns[name] = numbers
            for how in rounded:
                columns[rounded_name(name, how)] = _rounded(numbers, how)
        if name in (*modality.text_columns, modality.category):
            # A column that is both numeric and text keeps its text beside the number.
            columns[text_name(name, modality)] = _text(values, reasons, name, limits)
    return pa.table(columns), reasons.array


def text_name(name: str, modality: Modality) -> str:
    """Name of the text form of a column in a checked table."""
    return f"{name} as text" if name in modality.numeric else name


def rounded_name(name: str, how: str) -> str:
    """Name of the rounded form of a column in a checked table."""
    return f"{name} as {how}"


def render(table: pa.Table, modality: Modality) -> pa.Array:
    """The event texts: the modality's template over the columns of `table`, nulls as empty strings."""
    parts: list[Any] = []
    for literal, field, how in modality.template:
        if literal:
            parts.append(literal)
        if field is not None:
            name = rounded_name(field, how) if how else text_name(field, modality)
            parts.append(pc.fill_null(_flat(table[name]), ""))
    arrays = [pa.repeat(part, table.num_rows) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*arrays, "") if arrays else pa.repeat("", table.num_rows)


def as_python(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries of values that JSON has, even where strings are not UTF-8 and numbers not finite."""
    readable = [_readable(column.combine_chunks()) for column in table.columns]
    for values in zip(*readable, strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def _readable(values: pa.Array) -> list[Any]:
    if pt.is_temporal(values.type):
        # Python has no date for every timestamp.
        values = _as_string(values)
    if pt.is_floating(values.type):
        return [str(value) if value is not None and not isfinite(value) else value for value in values.to_pylist()]
    if not is_text(values.type):
        return list(values.to_pylist())
    return [
        None if raw is None else raw.decode(errors="backslashreplace")
        for raw in values.cast(pa.large_binary()).to_pylist()
    ]


def _flat(values: pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks()


def _as_string(values: pa.Array) -> pa.Array:
    """`values` as strings. An instant is written in UTC: not every machine knows every name of a timezone."""
    if pt.is_timestamp(values.type) and values.type.tz is not None:
        naive = values.cast(pa.int64()).cast(pa.timestamp(values.type.unit)).cast(pa.string())
        return pc.binary_join_element_wise(naive, "Z", "")
    return values.cast(pa.string())


def _text(values: pa.Array, reasons: _Reasons, name: str, limits: Limits) -> pa.Array:
    if not is_text(values.type):
        strings = _as_string(values)
        if pt.is_temporal(values.type):
            reasons.add(pc.starts_with(strings, OUT_OF_RANGE), f"{name} lies in no year from 1 to 9999")
        return strings
    strings = _utf8(values, reasons, name)
    reasons.add(
        pc.greater(pc.binary_length(strings), limits.max_text_bytes),
        f"{name} is longer than {limits.max_text_bytes} bytes",
    )
    return strings


def _rounded(numbers: pa.Array, how: str) -> pa.Array:
    """Numbers as texts. The zero that `-0.4` is rounded to is written as any other: what is equal is to read equal."""
    distinct = pc.dictionary_encode(numbers)
    texts = pa.array([format(number, f"z{how}") for number in distinct.dictionary.to_pylist()], pa.string())
    return texts.take(distinct.indices)


def _utf8(values: pa.Array, reasons: _Reasons, name: str) -> pa.Array:
    """`values` as strings; rows that are not UTF-8 are rejected and become null."""
    raw = values.cast(pa.binary())
    strings = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count, raw.offset)
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:
        decoded = [_decode(value) for value in raw.to_pylist()]
        strings = pa.array(decoded, pa.string())
        reasons.add(pc.and_(pc.is_null(strings), pc.is_valid(raw)), f"{name} is not UTF-8")
    return strings


def _decode(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


def _time(values: pa.Array, reasons: _Reasons) -> pa.Array:
    if pt.is_null(values.type):
        return values.cast(pa.timestamp("us"))
    if is_text(values.type):
        strings = _utf8(values, reasons, "event_time")
        return pa.array([_parse_time(value) for value in strings.to_pylist()], pa.timestamp("us"))
    # Beyond the calendar a coarser unit would overflow, and wrap around into it.
    number, factor = values.cast(pa.int64()), UNITS_PER_SECOND[values.type.unit]
    first, last = max(FIRST_SECOND * factor, -(2**63)), min(LAST_SECOND * factor, 2**63) - 1
    inside = pc.and_(pc.greater_equal(number, first), pc.less_equal(number, last))
    number = pc.if_else(inside, number, pa.scalar(None, pa.int64()))
    # Timestamps with a timezone are instants already, and nobody has to know it; those without are UTC by contract.
    return number.cast(pa.timestamp(values.type.unit)).cast(pa.timestamp("us"), safe=False)


def _parse_time(value: str | None) -> datetime | None:
    try:
        instant = None if value is None else datetime.fromisoformat(value)
        return instant.astimezone(UTC).replace(tzinfo=None) if instant and instant.tzinfo else instant
    except (ValueError, OverflowError):
        return None


def _deleted(table: pa.Table, reasons: _Reasons) -> pa.Array:
    if "op" not in table.column_names:
        return pa.repeat(False, table.num_rows)
    op = pc.fill_null(_utf8(_flat(table["op"]), reasons, "op"), "upsert")
    reasons.add(pc.invert(pc.is_in(op, pa.array(["upsert", "delete"]))), "op is neither upsert nor delete")
    return pc.equal(op, "delete")


def _number(values: pa.Array, reasons: _Reasons, name: str, alive: pa.Array) -> pa.Array:
    if is_text(values.type):
        strings = _utf8(values, reasons, name)
        numbers = pa.array([_parse_number(value) for value in strings.to_pylist()], pa.float64())
        reasons.add(pc.and_(alive, pc.and_(pc.is_null(numbers), pc.is_valid(strings))), f"{name} is not a number")
    else:
        numbers = (values.cast(pa.int8()) if pt.is_boolean(values.type) else values).cast(pa.float64(), safe=False)
    reasons.add(pc.and_(alive, pc.invert(pc.is_finite(numbers))), f"{name} is not finite")
    return numbers


def _parse_number(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
