"""The values of a bucket's users in a window: summaries, prefix fingerprints, embeddings. Reads state, writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.plan import BucketPlan
from updater.domain.scenario import Scenario
from updater.domain.window import Window
from updater.lake import summaries as summary_store
from updater.lake.bucket_files import bucket_files
from updater.lake.buffer import Buffer
from updater.lake.summaries import Summaries
from updater.pipeline.context import Context
from updater.pipeline.tools import Tools
from updater.pipeline.user_events import UserEvents, load_events, prefix_fingerprints, user_batch

Int64 = npt.NDArray[np.int64]


@dataclass
class BucketResult:
    """What refreshing a bucket made, before it is written. U changed users come first, then bystanders."""

    users: list[str]
    num_changed: int
    summaries: list[Summaries]
    """Per modality, of all users."""
    cells: Mapping[str, Int64]
    """Per modality the positions of the users whose summary was recomputed."""
    fingerprints: list[str]
    embeddings: npt.NDArray[np.float32]
    """Shape (users, scenarios of the config, embedding_dim); bystanders have only their new scenarios filled."""
    was_active: int
    """Changed users that had events before."""


def compute(context: Context, tools: Tools, window: Window, bucket: int, plan: BucketPlan) -> BucketResult:
    """The planned users' values at `window.as_of`.

    Changed summaries are made from the buffered events, the others are taken from the last published ones.
    """
    users = [*plan.users, *plan.bystanders]
    scenarios = context.settings.scenarios
    result = BucketResult(
        users=users,
        num_changed=len(plan.users),
        summaries=[Summaries.empty(0, width) for width in tools.widths],
        cells={
            modality.name: np.flatnonzero([user in plan.changed[modality.name] for user in users])
            for modality in context.settings.modalities
        },
        fingerprints=[],
        embeddings=np.zeros((len(users), len(scenarios), context.settings.model.embedding_dim), np.float32),
        was_active=0,
    )
    if not users:
        return result
    table = pa.table({"user_id": pa.array(sorted(users), pa.string())})
    positions = pc.index_in(pa.array(users, pa.string()), value_set=table["user_id"].combine_chunks())
    order = positions.to_numpy().astype(np.int64)
    events = list(_events(context, tools, window, bucket, table))
    result.summaries = [summary.take(order) for summary in _stored(context, tools, bucket, table)]
    before = np.sum([summary.num_events_B[: len(plan.users)] for summary in result.summaries], axis=0)
    result.was_active = int(np.count_nonzero(before))
    groups = [
        (np.arange(len(plan.users)), list(scenarios)),
        (np.arange(len(plan.users), len(users)), [s for s in scenarios if s.name in plan.new_scenarios]),
    ]
    size = context.settings.run.users_per_batch
    for group, asked in groups:
        for start in range(0, len(group), size):
            rows = group[start : start + size]
            columns = np.array([scenarios.index(scenario) for scenario in asked])
            result.embeddings[np.ix_(rows, columns)] = _embed(tools, result, events, order, rows, asked)
    return result


def _events(context: Context, tools: Tools, window: Window, bucket: int, users: pa.Table) -> Iterator[UserEvents]:
    settings = context.settings
    files = context.all_event_files(window.ds)
    for modality in settings.modalities:
        buffer = Buffer(tools.connection, modality, files[modality.name], settings.buffer.days, settings.timezone)
        yield load_events(buffer, modality, window, users, bucket, tools.vectors)


def _stored(context: Context, tools: Tools, bucket: int, users: pa.Table) -> list[Summaries]:
    widths = {modality.name: width for modality, width in zip(context.settings.modalities, tools.widths, strict=True)}
    files = bucket_files(context.state("summaries"), bucket)
    return list(summary_store.read_newest(tools.connection, files, widths, users).values())


def _embed(
    tools: Tools,
    result: BucketResult,
    events: Sequence[UserEvents],
    order: Int64,
    rows: Int64,
    scenarios: Sequence[Scenario],
) -> npt.NDArray[np.float32]:
    """Bring the summaries of the users at `rows` up to date, and embed them.

    Returns:
        Embeddings, shape (rows, scenarios, embedding_dim). Summaries and fingerprints go into `result`.
    """
    for event, summary in zip(events, result.summaries, strict=True):
        changed = np.intersect1d(rows, result.cells[event.modality.name], assume_unique=True)
        summary.put(changed, event.summarise(order[changed]))
    summaries = [summary.take(rows) for summary in result.summaries]
    result.fingerprints += prefix_fingerprints(tools.model_record.digest, events, summaries, order[rows])
    batch = user_batch(events, summaries, order[rows])
    return tools.model.embed(batch, [scenario.query for scenario in scenarios])
