"""Small helpers that tests use to write configs and lake partitions."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from updater.lake.partitions import join, mark_success, write_partition

EVENT_TIME = pa.timestamp("us", tz="UTC")
KEYS = {"user_id": pa.string(), "event_id": pa.string(), "event_time": EVENT_TIME, "op": pa.string()}

MODALITIES: list[dict[str, Any]] = [
    {
        "name": "bill",
        "text": "{category} at {merchant}",
        "numeric": ["amount"],
        "category": "category",
        "max_events": 8,
    },
    {"name": "search", "text": "{query}", "max_events": 4},
    {"name": "app", "kind": "snapshot", "text": "{app}", "max_events": 4, "optional": True},
]
SCENARIOS: list[dict[str, Any]] = [
    {"name": "lapse", "domain": "risk", "query": "Will this user stop coming in the next four weeks?"},
    {"name": "takeout", "domain": "marketing", "query": "Will this user order takeaway food in the next week?"},
]


def utc(text: str) -> datetime:
    """The UTC instant written as `2024-01-02` or `2024-01-02 03:04:05`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def bill(user_id: str, event_id: str, event_time: str, **columns: Any) -> dict[str, Any]:
    """A row of the modality `bill`; `event_time` as for `utc`."""
    row = {"user_id": user_id, "event_id": event_id, "event_time": utc(event_time)}
    return {**row, "category": "dairy", "merchant": "corner shop", "amount": 1.0, **columns}


def search(user_id: str, event_id: str, event_time: str, query: str = "milk") -> dict[str, Any]:
    """A row of the modality `search`; `event_time` as for `utc`."""
    return {"user_id": user_id, "event_id": event_id, "event_time": utc(event_time), "query": query}


def event_table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """Rows as an Arrow table: key columns typed as the lake contract says, `columns` as given, the others inferred.

    A key that a row lacks is null; without any row that has it, `op` is left out.
    """
    rows = list(rows)
    names = dict.fromkeys([*list(KEYS)[:3], *(columns or {}), *(name for row in rows for name in row)])
    types = {**KEYS, **(columns or {})}
    return pa.table({name: pa.array([row.get(name) for row in rows], types.get(name)) for name in names})


def land_rows(
    lake: str,
    modality: str,
    ds: date | str,
    rows: Iterable[Mapping[str, Any]],
    *,
    success: bool = True,
    columns: Mapping[str, pa.DataType] | None = None,
    name: str = "part-000.parquet",
) -> None:
    """Land `rows` as one file of a modality's day, with `_SUCCESS` by default.

    An empty day needs `columns`, as nothing can be inferred from no rows.
    """
    day = date.fromisoformat(ds) if isinstance(ds, str) else ds
    root = join(lake, modality)
    write_partition(root, day, event_table(rows, columns), name)
    if success:
        mark_success(root, day)


def toml_text(config: Mapping[str, Any]) -> str:
    """A config as TOML: scalars and lists first, then tables, then arrays of tables."""
    scalars, tables = [], []
    for name, value in config.items():
        if isinstance(value, Mapping):
            inner = {key: table for key, table in value.items() if isinstance(table, Mapping) and table}
            tables.append(f"[{name}]\n{_pairs({key: one for key, one in value.items() if key not in inner})}")
            tables.extend(f"[{name}.{key}]\n{_pairs(table)}" for key, table in inner.items())
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            tables.extend(f"[[{name}]]\n{_pairs(item)}" for item in value)
        else:
            scalars.append(_pairs({name: value}))
    return "\n".join([*scalars, *tables])


def _pairs(table: Mapping[str, Any]) -> str:
    # JSON's scalars and lists are TOML's as long as non-ASCII text is not escaped to surrogate pairs.
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
