"""What is compared: embeddings of a model and its relatives, read through the feature store, and baselines.

Each system turns the rows of a task into features. An embedding does not move with the day on which it is read, so
every system of embeddings gets one column more, the logarithm of the days since the user's newest event: the feature
store serves it beside the embedding (`modality_summaries`). The system `recency` is that column alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.errors import ConfigError
from updater.evaluation.baselines import Features, Groups, commonest, rfm_features
from updater.evaluation.embedding import DAYS_SINCE, Embedder, question_column
from updater.evaluation.metrics import Floats
from updater.labels.events import Events
from updater.labels.tasks import Amount, Question, Task, question
from updater.lake import partitions
from updater.model.checkpoint import create_model, load_model, model_digest, save_model
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.settings import Settings
from updater.store.scratch import Scratch
from updater.training.fitted import fitted_model

EMBEDDINGS = ("tuned", "base", "live", "fitted", "untrained", "text")
"""Systems of embeddings. `fitted` is the model without one step of training: it knows what is fitted to the data."""
OF_CANDIDATE = ("tuned", "base", "fitted", "untrained")
"""Those that are made from the candidate."""
BASELINES = ("rfm", "rfm_gb", "rfm_categories", "recency")
"""The others."""
RECENCY_VIEW = "recency"
LIFETIME = timedelta(hours=1)
"""How long an anchor's rows count: a user who has no event left is not to be taken for who they were an anchor ago."""
MAX_CATEGORIES = 240


@dataclass(frozen=True)
class System:
    """A name, and what it knows about the users of a task's rows."""

    name: str
    features: Callable[[Task, pa.Table], Floats]
    """From a task and rows of its labels (`tasks.LABELS_SCHEMA`) to features (rows, columns)."""
    boosted: bool = False
    """Scored by gradient boosting, instead of a linear probe."""


@dataclass(frozen=True)
class Candidate:
    """The models that are compared, as directories."""

    directory: str
    live: str = ""
    """The live model's, if the candidate is another one."""

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
        made["tuned"] = made["base"] = _embedder(candidate.directory, asked, model.soft_prompts)
    if "fitted" in names:
        made["fitted"] = _embedder(fitted_model(context, model.config, progress), asked, ())
    if "untrained" in names:
        untrained = str(Path(scratch.directory, "untrained"))
        save_model(create_model(model.config, model.config.seed), untrained)
        made["untrained"] = _embedder(untrained, asked, ())
    if "live" in names and candidate.live:
        made["live"] = _embedder(candidate.live, asked, load_model(candidate.live).soft_prompts)
    return made


def _embedder(directory: str, asked: Sequence[Question], prompts: Iterable[str]) -> Embedder:
    """All questions without a soft prompt, and those whose prompt the model has with it too."""
    known = set(prompts)
    tuned = [one for one in asked if one.scenario in known]
    questions = dict.fromkeys([*(Question(one.query) for one in asked), *tuned])
    return Embedder(directory, model_digest(directory), tuple(questions))


def embedding_systems(
    context: WritableContext,
    made: Mapping[str, Embedder],
    anchors: Sequence[date],
    scratch: Scratch,
) -> list[System]:
    """Publish the embeddings, and the days since each user's newest event, in a feature store, to be joined by it."""
    published: dict[Embedder, str] = {}
    systems = []
    first = next(iter(made.values()))
    wanted = [columns.JOIN_KEY, columns.EVENT_TIMESTAMP, DAYS_SINCE]
    recency = (partitions.read_table(first.file(context, ds), wanted) for ds in anchors)
    scratch.publish(RECENCY_VIEW, recency, lifetime=LIFETIME)
    for name, embedder in made.items():
        if embedder not in published:
            published[embedder] = f"embeddings_{len(published)}"
            tables = (partitions.read_table(embedder.file(context, ds)) for ds in anchors)
            scratch.publish(published[embedder], (t.drop_columns([DAYS_SINCE]) for t in tables), lifetime=LIFETIME)
        view = published[embedder]
        systems.append(System(name, partial(_joined, context.settings, scratch, view, embedder, name)))
    return systems


def recency_system(settings: Settings, scratch: Scratch) -> System:
    """The days since the user's newest event alone; they have to be published."""
    return System("recency", lambda _, rows: _recency(settings, _join(scratch, rows, [f"{RECENCY_VIEW}:{DAYS_SINCE}"])))


def baseline_systems(
    events: Events, names: Sequence[str], amounts: Sequence[Amount], train: Sequence[date], anchors: Sequence[date]
) -> list[System]:
    """Recency, frequency and money, linear and boosted, and the same with counts of categories.

    Which values of a column are summed or counted is decided on the training anchors.
    """
    systems = []
    sums = [
        Groups(a.modality, a.column, commonest(events, train, a.modality, a.column, a.limit), a.amount, a.num_days)
        for a in amounts
    ]
    plain = rfm_features(events, anchors, sums) if {"rfm", "rfm_gb"} & set(names) else None
    for name in names:
        if name in ("rfm", "rfm_gb") and plain is not None:
            systems.append(System(name, partial(_baseline, plain), boosted=name == "rfm_gb"))
        if name == "rfm_categories":
            counted = rfm_features(events, anchors, [*sums, *_counts(events, train)])
            systems.append(System(name, partial(_baseline, counted)))
    return systems


def embedding_rows(system: System, task: Task, rows: pa.Table) -> Floats:
    """The embeddings alone, shape (rows, E), without the column for recency."""
    return system.features(task, rows)[:, :-1]


def _counts(events: Events, train: Sequence[date]) -> list[Groups]:
    streams = [m for m in events.settings.modalities if m.kind == "stream" and m.category]
    return [Groups(m.name, m.category, commonest(events, train, m.name, limit=MAX_CATEGORIES)) for m in streams]


def _baseline(features: Features, task: Task, rows: pa.Table) -> Floats:
    return features.rows_of(rows)


def _joined(
    settings: Settings, scratch: Scratch, view: str, embedder: Embedder, name: str, task: Task, rows: pa.Table
) -> Floats:
    asked = question(settings, task)
    if not embedder.directory:
        position = 0
    else:
        plain = Question(asked.query)
        tuned = asked if name in ("tuned", "live") and asked in embedder.questions else plain
        position = embedder.questions.index(tuned)
    column = question_column(position)
    joined = _join(scratch, rows, [f"{view}:{column}", f"{RECENCY_VIEW}:{DAYS_SINCE}"])
    return np.concatenate([_matrix(joined[column]), _recency(settings, joined)], axis=1)


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
