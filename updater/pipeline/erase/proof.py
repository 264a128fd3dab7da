"""Prove an erasure: search every file of the state, the ledger, the registry and the online store for users.

Rows are searched in the columns that hold users' ids, for any id. An id that could not be anything else by chance (see
`is_distinctive`) is searched in every other column of strings too, and in the bytes of every file; a short one, such
as "1", would be found in any file of numbers and digests, so it is only looked for where an id can stand.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from json import dumps
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Engine, inspect, make_url, text

from updater.database import LEDGER, REGISTRY, Purpose, create_database_engine, is_sqlite, shown
from updater.domain.columns import JOIN_KEY
from updater.errors import VerificationError
from updater.lake import partitions
from updater.lake.erased_rows import without_users
from updater.lake.old_versions import OldVersion, old_versions
from updater.lake.schemas import is_text
from updater.pipeline.erase.files import files_below
from updater.pipeline.user_ids import state_ids
from updater.runtime.deployment import Context, Progress, no_progress

MIN_BYTES, MIN_DIGITS = 8, 16
LONGEST_BOUNDED = 47
"""A longer id has no clear start: in Parquet files a length precedes it, which may look like a letter."""
CHUNK = 1 << 24
PARQUET_MAGIC = b"PAR1"
REGISTRY_COLUMN = "project_id"


@dataclass(frozen=True)
class ErasureProof:
    """Where users are found. No place says which user it is."""

    users: int
    files: int = 0
    """Files searched."""
    places: Sequence[str] = field(default_factory=list)


def find(context: Context, user_ids: Sequence[str], progress: Progress = no_progress) -> ErasureProof:
    """Search for users by their source ids, and by their pseudonyms if enabled.

    Raises:
        ConfigError: an id is empty or no text, or none is given.
        ServiceUnavailableError: ledger, registry or online store do not answer.
    """
    from updater.store.online.erasing import find_online

    known = state_ids(context, user_ids)
    users = sorted({*user_ids, *known})
    places: list[str] = []
    databases = _databases(context)
    files: list[str | OldVersion] = [*files_below(context), *_databases_elsewhere(context, databases)]
    files += old_versions(context.layout.root)
    for done, file in enumerate(files):
        progress("searching", done, len(files))
        places += [f"{place} of {file}" for place in _places(file, users)]
    for url, purpose in databases.items():
        if not is_sqlite(make_url(url)):
            places += _find_in_database(create_database_engine(url, purpose), users)
    places += find_online(context.settings, users)
    return ErasureProof(len(known), len(files), places)


def raise_if_found(proof: ErasureProof) -> None:
    """Raise VerificationError if a user was found anywhere."""
    if proof.places:
        raise VerificationError(
            f"The users are found in {len(proof.places)} places, first: {proof.places[0]}; erase them (again) while "
            "nothing else runs, with `updater user erase`.",
            findings=proof.places,
        )


def is_distinctive(user: str) -> bool:
    """True for an id that nothing else holds by chance: of 8 bytes, or of 16 if it is a number or hexadecimal."""
    size = len(user.encode())
    return size >= (MIN_DIGITS if re.fullmatch(r"[0-9A-Fa-f.-]+", user) else MIN_BYTES)


def _patterns(users: Sequence[str]) -> re.Pattern[bytes]:
    """What the bytes of files are searched for: ids as they are and in JSON; short ones only as a JSON `user_id`."""
    forms = []
    for user in users:
        for form in {user, dumps(user)[1:-1]}:
            raw = re.escape(form.encode())
            if not is_distinctive(user):
                forms.append(rb'"' + JOIN_KEY.encode() + rb'"\s*:\s*"' + raw + rb'"')
            elif len(form.encode()) > LONGEST_BOUNDED:
                forms.append(raw)
            else:
                forms.append(rb"(?<![0-9A-Za-z_])" + raw + rb"(?![0-9A-Za-z_])")
    return re.compile(b"|".join(forms))


def _places(path: str | OldVersion, users: Sequence[str]) -> Iterator[str]:
    """What of a file holds a user."""
    pattern = _patterns(users)
    try:
        with _opened(path) as file:
            head = file.read(len(PARQUET_MAGIC))
            if _bytes_hold(head, file, pattern):
                yield "bytes"
            if head == PARQUET_MAGIC:
                file.seek(0)
                yield from _parquet_places(pq.ParquetFile(file), users, pattern)
    except FileNotFoundError:
        return  # a file that was there when the search began
    except pa.ArrowInvalid:
        yield "what a killed writer left, which cannot be searched,"


def _opened(path: str | OldVersion) -> IO[bytes]:
    if isinstance(path, OldVersion):
        return BytesIO(path.read())
    fs, inner = partitions.filesystem(path)
    file: IO[bytes] = fs.open(inner, "rb")
    return file


def _bytes_hold(head: bytes, file: IO[bytes], pattern: re.Pattern[bytes]) -> bool:
    kept = head
    overlap = max(1024, len(pattern.pattern))
    while chunk := file.read(CHUNK):
        kept = kept[-overlap:] + chunk
        if pattern.search(kept):
            return True
    return bool(pattern.search(kept))


def _parquet_places(file: pq.ParquetFile, users: Sequence[str], pattern: re.Pattern[bytes]) -> Iterator[str]:
    for group in range(file.metadata.num_row_groups):
        metadata = file.metadata.row_group(group)
        for column in (metadata.column(i) for i in range(metadata.num_columns)):
            bounds = column.statistics
            bounded = column.path_in_schema == JOIN_KEY and bounds is not None and bounds.has_min_max
            if bounded and {bounds.min, bounds.max} & set(users):
                yield "statistics"
    names = [field.name for field in file.schema_arrow if is_text(_value_type(field.type))]
    if not names:
        return
    table = file.read(columns=names)
    if without_users(table, set(users).intersection)[1]:
        yield "rows"
    others = [name for name in names if name != JOIN_KEY]
    yield from (f"column {name}" for name in others if _column_holds(table[name], pattern))


def _column_holds(column: pa.ChunkedArray, pattern: re.Pattern[bytes]) -> bool:
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    values = pc.unique(array.cast(pa.large_binary()))
    return any(value is not None and pattern.search(value) for value in values.to_pylist())


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _databases(context: Context) -> dict[str, Purpose]:
    """Ledger and registry by their URLs; one database may be both."""
    from updater.store.repository.config import feature_store_config

    registry: str = feature_store_config(context.settings, os.environ)["registry"]["path"]
    return {registry: REGISTRY, context.settings.ledger.url: LEDGER}


def _databases_elsewhere(context: Context, urls: Iterable[str]) -> list[str]:
    """SQLite files of ledger and registry that do not lie in the state."""
    databases = [url.database for url in map(make_url, urls) if is_sqlite(url)]
    files = {f"{database}{suffix}" for database in databases for suffix in ("", "-wal")}
    below = {partitions.filesystem(path)[1] for path in files_below(context)}
    return sorted(path for path in files - below if partitions.exists(path))


def _find_in_database(engine: Engine, users: Sequence[str]) -> list[str]:
    """Tables of ledger and registry on a PostgreSQL server that hold a user in any column, as text or in bytes."""
    places = []
    with engine.connect() as connection:
        for table in inspect(connection).get_table_names():
            columns = {column["name"] for column in inspect(connection).get_columns(table)}
            if not (table.startswith("ledger_") or REGISTRY_COLUMN in columns):
                continue
            quoted = connection.dialect.identifier_preparer.quote(table)
            query = text(f"SELECT 1 FROM {quoted} AS one WHERE position(:needle in one::text) > 0 LIMIT 1")
            for needle in _needles(users):
                if connection.scalar(query, {"needle": needle}):
                    places.append(f"table {table} of {shown(engine.url)}")
    return list(dict.fromkeys(places))


def _needles(users: Sequence[str]) -> Iterator[str]:
    """How users would look in the text of a row: as they are (which has no NUL), in JSON, and in bytes."""
    for user in users:
        if is_distinctive(user):
            yield from {user.replace("\0", "\\u0000"), dumps(user)[1:-1], user.encode().hex()}
        else:
            # JSON in a field of a row that is shown as text.
            yield f'""{JOIN_KEY}"": ""{dumps(user)[1:-1]}""'
