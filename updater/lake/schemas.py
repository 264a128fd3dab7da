"""Columns of the event lake and of the state's event files, and what is wrong with a partition's schema."""

import pyarrow as pa
import pyarrow.types as pt

from updater.domain.declared.modality import Modality
from updater.errors import DataRefusedError

TEXT_ID_BYTES = 16
EVENT_ROWS = 8192
"""Rows per row group of an event file: rows lie by bucket, so a reader of one bucket skips most groups."""
KEYS = ("user_id", "event_id", "event_time")
REJECTED_SCHEMA = pa.schema(
    [("reason", pa.string()), ("file", pa.string()), ("row_number", pa.int64()), ("row", pa.string())]
)


def numeric_columns(modality: Modality) -> list[str]:
    """Names of the numeric columns in an event file, in the order of the declaration."""
    return [f"numeric_{i}" for i in range(len(modality.numeric))]


def event_schema(modality: Modality) -> pa.Schema:
    """Columns of an event file: one validated row per (user_id, event_id) and landing day `ds`, `event_time` in UTC."""
    return pa.schema(
        [
            ("user_id", pa.string()),
            ("bucket", pa.int32()),
            ("ds", pa.date32()),
            ("event_id", pa.string()),
            ("event_time", pa.timestamp("us")),
            ("deleted", pa.bool_()),
            ("text", pa.string()),
            ("text_id", pa.binary(TEXT_ID_BYTES)),
            ("category", pa.string()),
            *((name, pa.float64()) for name in numeric_columns(modality)),
        ]
    )


def check_schema(schema: pa.Schema, modality: Modality, file: str) -> None:
    """Raise DataRefusedError if a lake file lacks a column of `modality` or has one of an unusable type."""
    for name in (*KEYS, *modality.columns, "op"):
        if len(schema.get_all_field_indices(name)) > 1:
            raise DataRefusedError(f"{file} has several columns {name!r}; land the day again with one of them.")
        if name != "op" and schema.get_field_index(name) < 0:
            raise DataRefusedError(
                f"{file} has no column {name!r}, which modality {modality.name!r} needs; "
                "land the day again with that column, or change the modality in the config."
            )
    for field in schema:
        if field.name not in (*KEYS, "op", *modality.columns):
            continue
        if wanted := _unusable(field, modality):
            raise DataRefusedError(
                f"{file}: column {field.name!r} is {field.type}, not {wanted}; land the day again with that type."
            )


def _unusable(field: pa.Field, modality: Modality) -> str | None:
    """What the column should be instead; None if its values can be read. One of nulls only has no type: it fits."""
    value_type = storage_type(field.type)
    if pt.is_null(value_type):
        return None
    if field.name in ("user_id", "event_id", "op"):
        return None if is_text(value_type) or is_uuid(field.type) else "a string"
    if field.name == "event_time":
        return None if pt.is_timestamp(value_type) or is_text(value_type) else "a timestamp"
    if field.name in (*modality.numeric, *(name for name, _ in modality.rounded_columns)):
        return None if (is_number(value_type) or is_text(value_type)) and not is_uuid(field.type) else "a number"
    return "a scalar" if pt.is_nested(value_type) else None


def storage_type(type_: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary or an extension type; of another type itself."""
    if pt.is_dictionary(type_):
        return storage_type(type_.value_type)
    return storage_type(type_.storage_type) if isinstance(type_, pa.BaseExtensionType) else type_


def is_uuid(type_: pa.DataType) -> bool:
    """True for Parquet's UUIDs, which are read in their usual notation."""
    return isinstance(type_, pa.UuidType)


def is_text(type_: pa.DataType) -> bool:
    """True for every Arrow string type, and for bytes, which are read as UTF-8."""
    return bool(
        pt.is_string(type_)
        or pt.is_large_string(type_)
        or pt.is_string_view(type_)
        or pt.is_binary(type_)
        or pt.is_large_binary(type_)
        or pt.is_binary_view(type_)
        or pt.is_fixed_size_binary(type_)
    )


def is_number(type_: pa.DataType) -> bool:
    """True for integers, floats, decimals and booleans."""
    return bool(pt.is_integer(type_) or pt.is_floating(type_) or pt.is_decimal(type_) or pt.is_boolean(type_))
