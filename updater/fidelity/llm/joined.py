"""The reader `llm` of a report: some of the day's questions, answered by a language model from the published vector
and, beside it, from the user's newest events as text.

It answers few questions, as each costs a pass through the model, so what it says stands apart from the other systems,
which answer all of them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.window import Window
from updater.evaluation.systems.vectors import UserVectors
from updater.fidelity.llm.accuracy import mean_over_users
from updater.fidelity.llm.adapter import BATCH
from updater.fidelity.llm.answers import DEFAULT_MODEL, DEFAULT_STEPS, LlmAnswers, answer_from_text, answer_with_llm
from updater.fidelity.llm.prior import prior_choices
from updater.fidelity.schema import SUBTASKS
from updater.runtime.deployment import Context, Progress, no_progress
from updater.state.event_store import Buffer

QUESTIONS = 200
NEWEST = 8


@dataclass(frozen=True)
class LlmReading:
    """Which language model reads, and how much."""

    model: str = DEFAULT_MODEL
    """Packaged name, directory or Hugging Face id."""
    steps: int = DEFAULT_STEPS
    """Of the adapter's training, of eight questions each."""
    questions: int = QUESTIONS
    """That it answers at most, drawn by hash."""
    newest: int = NEWEST
    """Events of a user that stand as text before a question."""
    seed: int = 0
    device: str = "cpu"


def read_with_llm(
    questions: pa.Table,
    vectors: UserVectors,
    lines: dict[str, list[str]],
    reading: LlmReading,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """What a report says of the reader.

    Args:
        questions: of the schema QUESTIONS, sorted by their ids, which are hashes.
        vectors: what users are known by.
        lines: each user's events as text, oldest first.
        reading: which model, and how much.
        progress: told of steps and answers.

    Returns:
        `reading`'s fields; `systems`, of `vector`, `text` and `prior` each the accuracy with its interval, that of each
        sub-task, the mean number of tokens read and how often each letter was chosen; `vector-prior` and `text-prior`,
        paired; `can_answer`, whether answers from text are better than the prior's, and `reason`, the same as a
        sentence.

    Raises:
        ConfigError: there is no such model, or it takes fewer tokens than a question has.
    """
    train, test = questions.filter(questions["train"]), questions.filter(pc.invert(questions["train"]))
    chosen = test.slice(0, reading.questions)
    learned = train.slice(0, max(1, reading.steps) * BATCH)
    vector = answer_with_llm(
        pa.concat_tables([learned, chosen]),
        vectors,
        reading.model,
        steps=reading.steps,
        seed=reading.seed,
        device=reading.device,
        progress=progress,
    )
    asked = pa.concat_tables([train, chosen])
    text = answer_from_text(
        asked,
        lambda user: lines.get(user, ()),
        reading.model,
        newest=reading.newest,
        device=reading.device,
        progress=progress,
    )
    right = {
        "vector": vector.choice == chosen["gold"].to_numpy(),
        "text": text.choice == chosen["gold"].to_numpy(),
        "prior": prior_choices(asked) == chosen["gold"].to_numpy(),
    }
    users, subtasks = (np.array(chosen[name].to_pylist(), str) for name in ("user_id", "subtask"))
    read: dict[str, LlmAnswers] = {"vector": vector, "text": text}
    systems = {
        name: {
            **_estimate(is_right, users),
            "subtasks": {
                each: {"acc": round(float(is_right[subtasks == each].mean()), 6), "n": int((subtasks == each).sum())}
                for each in SUBTASKS
                if (subtasks == each).any()
            },
            "tokens": round(float(read[name].input_tokens.mean()), 1) if name in read else 0,
            "letters": [round(share, 4) for share in read[name].letter_shares] if name in read else None,
        }
        for name, is_right in right.items()
    }
    return {
        **asdict(reading),
        "asked": chosen.num_rows,
        "systems": systems,
        **{f"{name}-prior": _estimate(right[name].astype(float) - right["prior"], users, "value") for name in read},
        "can_answer": text.ability.can_answer,
        "reason": text.ability.reason,
    }


def event_lines(
    context: Context, connection: duckdb.DuckDBPyConnection, window: Window, users: Sequence[str]
) -> dict[str, list[str]]:
    """The events of users in the buffer at the window's end as lines of text, oldest first; states have no time and
    come first.
    """
    settings, files = context.settings, context.all_event_files(window.ds)
    wanted = pa.table({"user_id": pa.array(sorted(users), pa.string())})
    found: dict[str, list[tuple[str, str]]] = {}
    for modality in settings.modalities:
        buffer = Buffer(connection, modality, files[modality.name], settings.buffer.days, settings.timezone)
        content = buffer.content(window, wanted, extra=["text"])
        for row in content.select(["user_id", "event_time", "text"]).to_pylist():
            when = "" if modality.kind == "snapshot" else f"{row['event_time']:%Y-%m-%d %H:%M}"
            found.setdefault(row["user_id"], []).append((when, f"{when} {modality.name}: {row['text'] or ''}".strip()))
    return {user: [line for _, line in sorted(rows)] for user, rows in found.items()}


def _estimate(values: np.ndarray, users: np.ndarray, name: str = "acc") -> dict[str, float]:
    found = mean_over_users(values.astype(float), users)
    return {name: round(found.value, 6), "low": round(found.low, 6), "high": round(found.high, 6)}
