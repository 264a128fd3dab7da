"""What is compared: embeddings of a model and its controls, read through the feature store, and baselines.

Each system turns the rows of a task into features. An embedding does not move with the day on which it is read, so
every system of embeddings gets one column more, the logarithm of the days since the user's newest event: the feature
store serves it beside the embedding (`modality_summaries`). The system `recency` is that column alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.errors import ConfigError
from updater.evaluation.metrics import Floats
from updater.evaluation.systems.baselines import Features, Groups, commonest, land_history, rfm_features
from updater.evaluation.systems.controls import CONTROLS
from updater.evaluation.systems.costs import BYTES_PER_NUMBER, Cost, CpuClock, total_cost
from updater.evaluation.systems.embedding import DAYS_SINCE, Embedder, measured_cost, question_column
from updater.labels.events import Events
from updater.labels.tasks import Amount, Question, Task, question
from updater.lake import partitions
from updater.model.checkpoint import load_model, model_digest
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.settings import Settings
from updater.store.scratch import Scratch

EMBEDDINGS = ("tuned", "base", "live", *CONTROLS, "text")
"""Systems of embeddings. `fitted` is the model without one step of training: it knows what is fitted to the data."""
CONCATENATED: Mapping[str, tuple[str, ...]] = {"with_counts": ("base", "rfm_categories")}
"""Systems whose features are those of others, concatenated."""
OF_CANDIDATE = ("tuned", "base", *CONTROLS, *CONCATENATED)
"""Those that are made from the candidate."""
BASELINES = ("rfm", "rfm_gb", "rfm_categories", "rfm_decayed", "recency")
"""Those that take no model, beside `text`."""
SYSTEMS = (*EMBEDDINGS, *CONCATENATED, *BASELINES)
"""All, in the order of the reports."""
RECENCY_VIEW = "recency"
LIFETIME = timedelta(hours=1)
"""How long an anchor's rows count: a user who has no event left is not to be taken for who they were an anchor ago."""
MAX_CATEGORIES = 240
HALF_LIFE_DAYS = 21.0
"""Of the counts of `rfm_decayed`."""


@dataclass(frozen=True)
class System:
    """A name, and what it knows about the users of a task's rows."""

    name: str
    parts: Callable[[Task, pa.Table], tuple[Floats, ...]]
    """From a task and rows of its labels (`tasks.LABELS_SCHEMA`) to features of some kinds, each (rows, columns)."""
    boosted: bool = False
    """Scored by gradient boosting, instead of a linear probe."""
    cost: Cost | None = None
    """Of a user; None if it was not measured."""


@dataclass(frozen=True)
class Candidate:
    """The models that are compared, as directories."""

    directory: str
    live: str = ""
    """The live model's, if the candidate is another one."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Further models by the names of their systems; asked without soft prompts."""

    @property
    def digest(self) -> str:
        """The candidate's."""
        return model_digest(self.directory)


def embedders(
    context: WritableContext,
    tasks: Sequence[Task],
    candidate: Candidate | None,
    names: Sequence[str],
    scratch: Scratch,
    progress: Progress = no_progress,
) -> dict[str, Embedder]:
    """What makes the embeddings of each system of `names`; systems that ask the same model share a pass over its users.

    Raises:
        ConfigError: a task has no query, a model is incomplete, or there is no training data to fit one to.
    """
    made = {"text": Embedder()} if "text" in names else {}
    if candidate is None:
        return made
    asked = [question(context.settings, task) for task in tasks]
    model = load_model(candidate.directory)
    if {"tuned", "base"} & {*names}:
        made["tuned"] = made["base"] = _embedder(candidate.directory, asked, model.tuned_scenarios)
    for name, control in CONTROLS.items():
        if name in names:
            made[name] = _embedder(control(context, model, scratch, progress), asked, ())
    if "live" in names and candidate.live:
        made["live"] = _embedder(candidate.live, asked, load_model(candidate.live).tuned_scenarios)
    for name, directory in candidate.models.items():
        made[name] = _embedder(directory, asked, ())
    return made


def _embedder(directory: str, asked: Sequence[Question], scenarios: Iterable[str]) -> Embedder:
    """All questions as they are, and those of tuned `scenarios` as they were tuned too."""
    known = set(scenarios)
    tuned = [one for one in asked if one.scenario in known]
    questions = dict.fromkeys([*(Question(one.query) for one in asked), *tuned])
    return Embedder(directory, model_digest(directory), tuple(questions))


def publish_recency(context: Context, embedder: Embedder, anchors: Sequence[date], scratch: Scratch) -> None:
    """Publish the days since each user's newest event, which the files of any embedder have."""
    wanted = [columns.JOIN_KEY, columns.EVENT_TIMESTAMP, DAYS_SINCE]
    tables = (partitions.read_table(embedder.file(context, ds), wanted) for ds in anchors)
    scratch.publish(RECENCY_VIEW, tables, lifetime=LIFETIME)


def embedding_systems(
    context: WritableContext,
    made: Mapping[str, Embedder],
    anchors: Sequence[date],
    scratch: Scratch,
) -> list[System]:
    """Publish the embeddings in a feature store, to be joined by it; days since the newest event have to be there."""
    published: dict[Embedder, str] = {}
    systems = []
    for name, embedder in made.items():
        if embedder not in published:
            published[embedder] = f"embeddings_of_{name}"
            tables = (partitions.read_table(embedder.file(context, ds)) for ds in anchors)
            scratch.publish(published[embedder], (t.drop_columns([DAYS_SINCE]) for t in tables), lifetime=LIFETIME)
        parts = partial(_joined, context.settings, scratch, published[embedder], embedder, name)
        systems.append(System(name, parts, cost=measured_cost(context, embedder, anchors)))
    return systems


def recency_system(settings: Settings, scratch: Scratch, cost: Cost | None) -> System:
    """The days since the user's newest event alone; they have to be published."""
    return System("recency", lambda _, rows: (recency(settings, scratch, rows),), cost=cost)


def recency(settings: Settings, scratch: Scratch, rows: pa.Table) -> Floats:
    """log(1 + days since the newest event) of the users of `rows`, shape (rows, 1)."""
    return _recency(settings, _join(scratch, rows, [f"{RECENCY_VIEW}:{DAYS_SINCE}"]))


def concatenated_system(name: str, systems: Sequence[System]) -> System:
    """The parts of several systems, side by side."""

    def parts(task: Task, rows: pa.Table) -> tuple[Floats, ...]:
        return tuple(part for system in systems for part in system.parts(task, rows))

    return System(name, parts, cost=total_cost([system.cost for system in systems]))


def baseline_systems(
    events: Events, names: Sequence[str], amounts: Sequence[Amount], train: Sequence[date], anchors: Sequence[date]
) -> list[System]:
    """Recency, frequency and money, linear and boosted, the same with counts of categories, and with decayed ones too.

    Which values of a column are summed or counted is decided on the training anchors.
    """
    wanted = {*BASELINES[:-1]} & {*names}
    if not wanted:
        return []
    land_history(events, anchors)
    sums = [
        Groups(a.modality, a.column, commonest(events, train, a.modality, a.column, a.limit), a.amount, a.num_days)
        for a in amounts
    ]
    systems = []
    if {"rfm", "rfm_gb"} & wanted:
        plain, cost = _measured_features(events, anchors, sums)
        for name in ("rfm", "rfm_gb"):
            systems.append(System(name, partial(_baseline, plain), boosted=name == "rfm_gb", cost=cost))
    if {"rfm_categories", "rfm_decayed"} & wanted:
        counts = _counts(events, train)
        decays = [replace(group, half_life_days=HALF_LIFE_DAYS) for group in counts]
        for name, groups in (("rfm_categories", counts), ("rfm_decayed", [*counts, *decays])):
            if name in wanted:
                counted, cost = _measured_features(events, anchors, [*sums, *groups])
                systems.append(System(name, partial(_baseline, counted), cost=cost))
    return [system for system in systems if system.name in wanted]


def embedding_rows(system: System, task: Task, rows: pa.Table) -> Floats:
    """The embeddings alone, shape (rows, E), without the column for recency."""
    return system.parts(task, rows)[0]


def _counts(events: Events, train: Sequence[date]) -> list[Groups]:
    streams = [m for m in events.settings.modalities if m.kind == "stream" and m.category]
    return [Groups(m.name, m.category, commonest(events, train, m.name, limit=MAX_CATEGORIES)) for m in streams]


def _measured_features(events: Events, anchors: Sequence[date], groups: Sequence[Groups]) -> tuple[Features, Cost]:
    clock = CpuClock()
    with clock.running():
        features = rfm_features(events, anchors, groups)
    cpu_ms = 1000 * clock.seconds / max(1, len(features.users))
    return features, Cost(cpu_ms, BYTES_PER_NUMBER * len(features.names))


def _baseline(features: Features, task: Task, rows: pa.Table) -> tuple[Floats, ...]:
    values = features.rows_of(rows)
    return tuple(values[:, features.parts == part] for part in np.unique(features.parts))


def _joined(
    settings: Settings, scratch: Scratch, view: str, embedder: Embedder, name: str, task: Task, rows: pa.Table
) -> tuple[Floats, ...]:
    asked = question(settings, task)
    if not embedder.directory:
        position = 0
    else:
        plain = Question(asked.query)
        tuned = asked if name in ("tuned", "live") and asked in embedder.questions else plain
        position = embedder.questions.index(tuned)
    column = question_column(position)
    joined = _join(scratch, rows, [f"{view}:{column}", f"{RECENCY_VIEW}:{DAYS_SINCE}"])
    return _matrix(joined[column]), _recency(settings, joined)


def _join(scratch: Scratch, rows: pa.Table, features: Sequence[str]) -> pa.Table:
    return scratch.point_in_time(rows.select([columns.JOIN_KEY, columns.EVENT_TIMESTAMP]), features)


def _matrix(column: pa.ChunkedArray) -> Floats:
    """Lists of one length as a matrix; zeros where there is none, which is a user without events."""
    lists = column.combine_chunks()
    known = np.asarray(pc.is_valid(lists))
    values = lists.drop_null().flatten().to_numpy(zero_copy_only=False)
    if not known.any():
        raise ConfigError("no user of a task has an embedding; check that the anchors lie within the landed days.")
    matrix = np.zeros((len(lists), len(values) // int(known.sum())))
    matrix[known] = values.reshape(int(known.sum()), -1)
    return matrix


def _recency(settings: Settings, joined: pa.Table) -> Floats:
    days = joined[DAYS_SINCE].to_numpy(zero_copy_only=False).astype(float)
    column: Floats = np.log1p(np.nan_to_num(days, nan=float(settings.buffer.days)))[:, None]
    return column
