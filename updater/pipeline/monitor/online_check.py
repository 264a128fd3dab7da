"""What the online store serves, against the offline rows that it was loaded from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.runtime.deployment import Context
from updater.state import embeddings as offline

USERS_PER_READ = 500


@dataclass(frozen=True)
class OnlineComparison:
    """Values compared, and those that differ."""

    values: int = 0
    differences: Sequence[tuple[str, str, str]] = field(default_factory=list)
    """Feature view, feature and user of each value that differs."""


def not_superseded(context: Context, view: str, bucket: int, rows: pa.Table) -> pa.Table:
    """The rows that no later, uncommitted window supersedes: of the others either value may be online."""
    newest = offline.read_newest(context.layout.offline(view), bucket, rows)
    return rows.filter(pc.equal(rows[columns.EVENT_TIMESTAMP], newest[columns.EVENT_TIMESTAMP]))


def compare_online(context: Context, published: Mapping[str, pa.Table]) -> OnlineComparison:
    """Compare offline rows (feature view to rows) exactly with what the online store has for their users.

    An embedding has to be the offline one to the bit, or to the bit what one of the store's formats makes of it: rows
    of several formats lie beside each other once `online_store.embeddings` has been changed.

    Raises:
        ConfigError: a view is not registered.
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    from updater.store.access import online_rows
    from updater.store.online.rounding import are_roundings
    from updater.store.repository.connecting import open_store

    store = open_store(context.settings)
    num_values = 0
    differences: list[tuple[str, str, str]] = []
    for view, rows in published.items():
        keys = (columns.JOIN_KEY, columns.EVENT_TIMESTAMP, columns.CREATED_TIMESTAMP)
        features = [name for name in rows.column_names if name not in keys]
        for start in range(0, rows.num_rows, USERS_PER_READ):
            part = rows.slice(start, USERS_PER_READ).to_pydict()
            users = part[columns.JOIN_KEY]
            online = online_rows(store, users, [f"{view}:{name}" for name in features])
            for name in features:
                num_values += len(users)
                pairs = zip(users, part[name], online[name], strict=True)
                different = [(user, stored, value) for user, stored, value in pairs if value != stored]
                if different and _is_embedding(rows.schema.field(name).type):
                    roundings = are_roundings(
                        [value for *_, value in different], [stored for _, stored, _ in different]
                    )
                    different = [one for one, rounded in zip(different, roundings, strict=True) if not rounded]
                differences += [(view, name, user) for user, *_ in different]
    return OnlineComparison(num_values, differences)


def _is_embedding(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) and pa.types.is_float32(kind.value_type))
