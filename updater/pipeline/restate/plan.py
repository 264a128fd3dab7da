"""What a restatement has to recompute: the rewritten partitions, and the users and days that they touch.

The plan is one file that stays until everything is done, so a restatement is resumable. That there is one under way is
said by the ledger (docs/adr/0037-what-the-ledger-says-of-files.md).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.errors import UnfinishedWorkError, WindowOrderError
from updater.lake import partitions
from updater.lake.schemas import event_schema
from updater.ledger import PartitionRecord
from updater.pipeline.changed_partitions import check_recomputable, find_rewritten
from updater.pipeline.daily.intake.land import read_landed
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext
from updater.state.event_store import connect, read_rows

AFFECTED_SCHEMA = pa.schema([("modality", pa.string()), ("user_id", pa.string()), ("bucket", pa.int32())])


@dataclass(frozen=True)
class Restatement:
    """What was rewritten, and whom it affects."""

    first_day: date
    """First day whose values change: the oldest rewritten landing day."""
    last_day: date
    """The watermark when the restatement was planned."""
    generation: int
    created: datetime
    records: Sequence[PartitionRecord]
    """New ledger records of the rewritten partitions."""
    affected: pa.Table
    """`AFFECTED_SCHEMA`: the users whose rows differ, per modality."""
    num_erased: int
    """How many erased users were known when the partitions were read, or the plan was read back."""

    def users(self, bucket: int) -> list[str]:
        """Affected users of a bucket, sorted."""
        rows = self.affected.filter(pc.equal(self.affected["bucket"], bucket))
        return sorted(set(rows["user_id"].to_pylist()))

    def buckets(self) -> list[int]:
        """Buckets with affected users."""
        return sorted(set(self.affected["bucket"].to_pylist()))


def plan_restatement(context: WritableContext, from_date: date, to_date: date) -> Restatement | None:
    """Land the rewritten partitions of the range again, beside the old, and find the users whose rows differ; None if
    nothing was rewritten.

    Raises:
        UnfinishedWorkError: a window is unfinished.
        WindowOrderError: the config changed since the last window, or a rewritten partition lies beyond `[retention]
            history_days`.
        DataRefusedError: a rewritten partition cannot be trusted.
    """
    pending = load_plan(context)
    if pending is not None:
        return pending
    if unfinished := context.ledger.unfinished_windows():
        raise UnfinishedWorkError(
            f"{unfinished[0]} is unfinished; run `updater run --ds {unfinished[0]}` before restating.",
            kind="window",
            ds=unfinished[0],
        )
    for head in context.ledger.heads().values():
        if head.scenarios != context.published_fingerprints() or head.modalities != context.modality_fingerprints():
            raise WindowOrderError(
                f"Scenarios or modalities changed after {head.ds}; run the next window before restating older ones."
            )
    erased = context.ledger.erased()
    records, affected = [], []
    for modality, ds, old in find_rewritten(context, from_date, to_date):
        check_recomputable(context, modality, ds)
        new = read_landed(context, ds, modality, erased)
        records.append(new)
        affected.append(_different_users(context, modality, old, new))
    watermark = context.ledger.watermark()
    if not records or watermark is None:
        return None
    first_window = context.first_window() or watermark
    return Restatement(
        first_day=max(min(record.ds for record in records), first_window),
        last_day=watermark,
        generation=1 + max(head.generation for head in context.ledger.heads().values()),
        created=context.now,
        records=records,
        affected=pa.concat_tables(affected),
        num_erased=len(erased),
    )


def _different_users(
    context: Context, modality: Modality, old: PartitionRecord | None, new: PartitionRecord
) -> pa.Table:
    """Users whose rows in a partition are not the same as before."""
    names = [record.events_file for record in (old, new) if record is not None and record.events_file]
    compared = [name for name in event_schema(modality).names if name != "text"]
    rows = read_rows([file for name in names for file in context.files_of_day(modality.name, new.ds, name)], compared)
    if rows is None or len(set(names)) < len(names):
        return AFFECTED_SCHEMA.empty_table()
    with connect() as connection:
        connection.register("rows", rows)
        query = """
            with once as (select * from rows group by all having count(*) = 1)
            select $modality as modality, user_id, bucket from once group by all order by bucket, user_id"""
        return connection.execute(query, {"modality": modality.name}).to_arrow_table().cast(AFFECTED_SCHEMA)


def save_plan(context: WritableContext, restatement: Restatement) -> None:
    """Say in the ledger that a restatement is under way, and write the plan; one that is there already stays."""
    with crash_point("restatement"):
        context.ledger.begin_restatement(restatement.created)
    if partitions.exists(context.layout.restatement_plan()):
        return
    about = {
        "first_day": restatement.first_day,
        "last_day": restatement.last_day,
        "generation": restatement.generation,
        "created": restatement.created,
        "records": [asdict(record) for record in restatement.records],
    }
    table = restatement.affected.replace_schema_metadata(
        {"restatement": json.dumps(about, default=lambda value: value.isoformat())}
    )
    with crash_point("plan"):
        partitions.write_table(context.layout.restatement_plan(), table)


def drop_plan(context: WritableContext) -> None:
    """Remove the plan, and then say in the ledger that no restatement is under way.

    So a process that is killed leaves no plan of which the ledger does not know. If the ledger knows of one that is not
    there, nothing of it was done yet, or everything.
    """
    partitions.remove(context.layout.restatement_plan())
    with crash_point("restated"):
        context.ledger.end_restatement()


def load_plan(context: Context) -> Restatement | None:
    """The plan of a restatement that was started and not finished; None if there is none."""
    if not partitions.exists(context.layout.restatement_plan()):
        return None
    num_erased = len(context.ledger.erased())
    table = partitions.read_table(context.layout.restatement_plan())
    about = json.loads(table.schema.metadata[b"restatement"])
    records = [
        PartitionRecord(
            **{**raw, "ds": date.fromisoformat(raw["ds"]), "recorded_at": datetime.fromisoformat(raw["recorded_at"])}
        )
        for raw in about["records"]
    ]
    return Restatement(
        first_day=date.fromisoformat(about["first_day"]),
        last_day=date.fromisoformat(about["last_day"]),
        generation=about["generation"],
        created=datetime.fromisoformat(about["created"]),
        records=records,
        affected=table.cast(AFFECTED_SCHEMA),
        num_erased=num_erased,
    )
