"""Questions of the table, answered by a language model from a stored vector, or from the newest events as text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from updater.evaluation.systems.vectors import UserVectors
from updater.fidelity.llm.ability import Ability, judge_ability
from updater.fidelity.llm.adapter import Asked, choose, train_adapter
from updater.fidelity.llm.prior import prior_choices
from updater.language_models.causal import LETTERS, LanguageModel, open_language_model
from updater.runtime.deployment import Progress, no_progress

DEFAULT_MODEL = "smollm2"
"""Packaged, so that the path works without a network; with 135 million weights it is small for the task."""
DEFAULT_STEPS = 300


@dataclass(frozen=True, eq=False)
class LlmAnswers:
    """Answers to the questions that are not for training, in the order of the table."""

    question_ids: tuple[str, ...]
    choice: NDArray[np.int64]
    """Position of the chosen option."""
    input_tokens: NDArray[np.int64]
    """What the model read for each: soft tokens and those of the text."""
    letter_shares: tuple[float, ...]
    """Of all answers, how many are A, B, …: a reader without a bias for a position has those of the right answers."""


@dataclass(frozen=True, eq=False)
class TextAnswers(LlmAnswers):
    """Answers from events as text, and whether they show that this reader can answer such questions at all."""

    ability: Ability


def answer_with_llm(
    questions: pa.Table,
    vectors: UserVectors,
    model: str = DEFAULT_MODEL,
    *,
    steps: int = DEFAULT_STEPS,
    seed: int = 0,
    num_tokens: int = 1,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> LlmAnswers:
    """Train an adapter on the questions of training users, and answer those of the others from their vectors.

    Args:
        questions: of the schema QUESTIONS.
        vectors: of users; whoever is not among them has zeros.
        model: the frozen reader: packaged name, directory or Hugging Face id.
        steps: optimizer steps of the adapter, of eight questions each.
        seed: of the adapter's first weights and of the order of questions.
        num_tokens: soft tokens that the adapter makes of a vector.
        device: where the model computes, as PyTorch writes it.
        progress: told of steps and answers.

    Raises:
        ConfigError: there is no such model, no question of a training user, or a question that the model cannot read.
    """
    reader = open_language_model(model, device)
    train, others = _parts(questions)
    asked = [_asked(reader, rows, _vectors_of(vectors, rows), num_tokens) for rows in (train, others)]
    adapter = train_adapter(reader, asked[0], num_tokens=num_tokens, steps=steps, seed=seed, progress=progress)
    return LlmAnswers(**_answers(others, asked[1], choose(reader, adapter, asked[1], progress), num_tokens))


def answer_from_text(
    questions: pa.Table,
    texts_of: Callable[[str], Sequence[str]],
    model: str = DEFAULT_MODEL,
    *,
    newest: int,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> TextAnswers:
    """Answer the questions that are not for training from the user's newest events, one line each, before the question.

    Nothing is trained: the model answers as it is.

    Args:
        questions: of the schema QUESTIONS.
        texts_of: the events of a user before the question, oldest first, each as a line of text.
        model: the frozen reader, as in `answer_with_llm`.
        newest: how many events are read, N of text-N.
        device: where the model computes, as PyTorch writes it.
        progress: told of answers.

    Raises:
        ConfigError: there is no such model, or events and question are longer than it can read.
    """
    reader = open_language_model(model, device)
    others = _parts(questions)[1]
    texts = {row["user_id"]: list(texts_of(row["user_id"])) for row in others}
    histories = {user: lines[max(len(lines) - newest, 0) :] for user, lines in texts.items()}
    asked = _asked(reader, others, np.zeros((len(others), 0), dtype=np.float32), 0, histories)
    choice = choose(reader, None, asked, progress)
    users = np.array([row["user_id"] for row in others])
    ability = judge_ability(model, newest, choice == asked.gold, prior_choices(questions) == asked.gold, users)
    return TextAnswers(**_answers(others, asked, choice, 0), ability=ability)


def lettered(text: str, options: Sequence[str]) -> str:
    """A question and its options, each behind a letter."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([text, *lines, "Answer with the letter of the right option alone."])


def _parts(questions: pa.Table) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The questions that are for training, and the others."""
    names = ["question_id", "user_id", "text", "options", "gold", "train"]
    rows = questions.select(names).to_pylist()
    return [row for row in rows if row["train"]], [row for row in rows if not row["train"]]


def _asked(
    reader: LanguageModel,
    rows: list[dict[str, Any]],
    vectors_QC: NDArray[np.float32],
    num_soft: int,
    histories: dict[str, list[str]] | None = None,
) -> Asked:
    before = histories or {}
    contents = ("\n".join([*before.get(row["user_id"], []), lettered(row["text"], row["options"])]) for row in rows)
    return Asked(
        prompts=[reader.encode(content, num_soft) for content in contents],
        vectors_QC=vectors_QC,
        gold=np.array([row["gold"] for row in rows], dtype=np.int64),
        num_options=np.array([len(row["options"]) for row in rows], dtype=np.int64),
    )


def _vectors_of(vectors: UserVectors, rows: list[dict[str, Any]]) -> NDArray[np.float32]:
    place = {user: row for row, user in enumerate(vectors.users.tolist())}
    found = np.zeros((len(rows), vectors.values.shape[1]), dtype=np.float32)
    for row, question in enumerate(rows):
        if (known := place.get(question["user_id"])) is not None:
            found[row] = vectors.values[known]
    return found


def _answers(rows: list[dict[str, Any]], asked: Asked, choice: NDArray[np.int64], num_soft: int) -> dict[str, Any]:
    return {
        "question_ids": tuple(row["question_id"] for row in rows),
        "choice": choice,
        "input_tokens": np.array([len(prompt) + num_soft for prompt in asked.prompts], dtype=np.int64),
        "letter_shares": letter_shares(choice, asked.num_options),
    }


def letter_shares(choice: NDArray[np.int64], num_options: NDArray[np.int64]) -> tuple[float, ...]:
    """Share of each letter among the answers, for as many letters as any question offers."""
    if not len(choice):
        return ()
    return tuple((np.bincount(choice, minlength=int(num_options.max())) / len(choice)).tolist())
