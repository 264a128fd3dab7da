"""The whole run: pre-train, align, answer, score."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from updater.errors import ConfigError, DataRefusedError
from updater.fidelity.llm.ability import Ability, judge_ability
from updater.fidelity.llm.adapter import Adapter, Asked, choose, train_adapter
from updater.fidelity.llm.answers import letter_shares
from updater.fidelity.uqabench.config import UqaConfig
from updater.fidelity.uqabench.files import (
    ALIGN_EVAL,
    ALIGN_TRAIN,
    FILES,
    PRETRAIN_EVAL,
    PRETRAIN_TRAIN,
    open_file,
    table_rows,
)
from updater.fidelity.uqabench.pretrain import Pretraining, evaluate_pretraining, pretrain
from updater.fidelity.uqabench.questions import UqaQuestions, read_questions, user_vectors
from updater.fidelity.uqabench.scores import AS_TEXT, LETTER, NO_USER, SHUFFLED, VECTOR, UqaScores, score
from updater.lake.partitions import write_file
from updater.language_models.causal import LETTERS, LanguageModel, open_language_model
from updater.runtime.deployment import Progress, no_progress


@dataclass(frozen=True)
class UqaReport:
    """What a run found, and on what."""

    directory: str
    rows: dict[str, int]
    """By file."""
    tables: dict[str, int]
    """Rows of each table of embeddings."""
    config: UqaConfig
    model: str
    """The frozen reader."""
    pretraining: Pretraining
    scores: UqaScores
    input_tokens: float
    """Tokens that the reader takes in for a question, on average; the vector is `config.num_tokens` of them."""
    text_tokens: float | None
    """The same where it reads titles; None where it does not."""
    ability: Ability | None
    """Whether it can answer from titles, beside the answers of `no user`; None where it reads none."""
    letter_shares: dict[str, float]
    """Of the answers from the vector, how many are each letter."""
    right_letter_shares: dict[str, float]
    """The same of the right answers."""


def run_uqabench(
    directory: Path,
    model: str,
    config: UqaConfig,
    *,
    newest: int = 0,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> UqaReport:
    """Pre-train an encoder, align an adapter with a frozen language model, and answer the questions for evaluation.

    Args:
        directory: holds the four files.
        model: the reader: packaged name, directory or Hugging Face id.
        config: sizes and budgets.
        newest: titles that the reader reads as text instead of the vector, for a system beside the others; 0: none.
        device: where encoder and reader compute, as PyTorch writes it.
        progress: told of each stage.

    Raises:
        ConfigError: a file or the model is missing, a table is given too few rows, or a question is longer than the
            model can read.
        DataRefusedError: a file has another layout.
    """
    # Whatever may be wrong is found before anything is trained.
    reader = open_language_model(model, device)
    files = {name: open_file(directory, name) for name in FILES}
    needed = table_rows(list(files.values()))
    tables = _table_sizes(config, needed, directory)
    if newest and needed["token"] > reader.tokenizer.get_vocab_size():
        raise ConfigError(
            f"the files have text tokens up to {needed['token'] - 1} and the reader {model!r} knows "
            f"{reader.tokenizer.get_vocab_size()}; its vocabulary has to be that of Qwen, so choose such a model or "
            "leave out --newest."
        )
    train = read_questions(files[ALIGN_TRAIN], config.max_events, 0)
    asked = read_questions(files[ALIGN_EVAL], config.max_events, newest)
    if not train.chats or not asked.chats:
        raise DataRefusedError(f"{directory} has a file of questions without a question; download it again.")
    # The files do not say which letters a question offers; those that are ever right are offered by all.
    num_letters = 1 + max(LETTERS.index(chat.letter) for chat in (*train.chats, *asked.chats))
    read = [_asked(reader, each, num_letters, config.num_tokens) for each in (train, asked)]
    as_text = replace(read[1], prompts=_behind_titles(reader, asked)) if newest else None
    encoder, loss = pretrain(config, tables, files[PRETRAIN_TRAIN], device, progress)
    pretraining = evaluate_pretraining(encoder, config, files[PRETRAIN_EVAL], loss, progress)
    train_asked, eval_asked = (
        replace(each, vectors_QC=user_vectors(encoder, files[name], config.max_events, progress))
        for each, name in zip(read, (ALIGN_TRAIN, ALIGN_EVAL), strict=True)
    )
    choices = _answers(reader, config, train_asked, eval_asked, asked.users, progress)
    choices[LETTER] = _commonest(train, asked)
    ability = None
    if as_text is not None:
        choices[AS_TEXT] = choose(reader, None, as_text, progress)
        known = asked.subtasks != ""
        right, without = ((choices[system] == eval_asked.gold)[known] for system in (AS_TEXT, NO_USER))
        ability = judge_ability(model, newest, right, without, asked.users[known])
    return UqaReport(
        directory=str(directory),
        rows={name: file.num_rows for name, file in files.items()},
        tables=tables,
        config=config,
        model=model,
        pretraining=pretraining,
        scores=score(choices, eval_asked.gold, asked.subtasks, asked.users),
        input_tokens=config.num_tokens + _mean_length(eval_asked),
        text_tokens=None if as_text is None else _mean_length(as_text),
        ability=ability,
        letter_shares=_named(letter_shares(choices[VECTOR], eval_asked.num_options)),
        right_letter_shares=_named(letter_shares(eval_asked.gold, eval_asked.num_options)),
    )


def write_report(report: UqaReport, path: Path) -> None:
    """Write the report as JSON; the file appears when it is whole."""
    with write_file(str(path)) as file:
        file.write((json.dumps(asdict(report), indent=2) + "\n").encode())


def _table_sizes(config: UqaConfig, needed: dict[str, int], directory: Path) -> dict[str, int]:
    """Rows of each table: those of the config, or as many as the files need."""
    given = {table: getattr(config, f"{table}_rows") for table in needed}
    if short := [table for table, rows in given.items() if 0 < rows < needed[table]]:
        raise ConfigError(
            f"{short[0]}_rows is {given[short[0]]}, and the files in {directory} have ids up to "
            f"{needed[short[0]] - 1}; leave it out."
        )
    return {table: given[table] or rows for table, rows in needed.items()}


def _asked(reader: LanguageModel, questions: UqaQuestions, num_letters: int, num_tokens: int) -> Asked:
    """The questions as they are read, still without vectors."""
    return Asked(
        prompts=[reader.encode(chat.question, num_tokens) for chat in questions.chats],
        vectors_QC=np.zeros((len(questions.chats), 0), dtype=np.float32),
        gold=np.array([LETTERS.index(chat.letter) for chat in questions.chats], dtype=np.int64),
        num_options=np.full(len(questions.chats), num_letters, dtype=np.int64),
    )


def _answers(
    reader: LanguageModel, config: UqaConfig, train: Asked, asked: Asked, users: NDArray[np.str_], progress: Progress
) -> dict[str, NDArray[np.int64]]:
    """The choices of the systems that read."""

    def align(questions: Asked) -> Adapter:
        return train_adapter(
            reader,
            questions,
            num_tokens=config.num_tokens,
            steps=config.align_steps,
            seed=config.seed,
            progress=progress,
        )

    adapter, without = align(train), align(_without_vectors(train))
    exchanged = replace(asked, vectors_QC=of_others(asked.vectors_QC, users, config.seed))
    return {
        VECTOR: choose(reader, adapter, asked, progress),
        NO_USER: choose(reader, without, _without_vectors(asked), progress),
        SHUFFLED: choose(reader, adapter, exchanged, progress),
    }


def _behind_titles(reader: LanguageModel, asked: UqaQuestions) -> list[list[int]]:
    """The questions behind their users' newest titles, one a line."""
    texts = ["\n".join(reader.tokenizer.decode(ids) for ids in each) for each in asked.titles]
    return [reader.encode(f"{text}\n{chat.question}", 0) for text, chat in zip(texts, asked.chats, strict=True)]


def _mean_length(asked: Asked) -> float:
    return float(np.mean([len(prompt) for prompt in asked.prompts]))


def _without_vectors(asked: Asked) -> Asked:
    return replace(asked, vectors_QC=np.zeros_like(asked.vectors_QC))


def of_others(vectors_QC: NDArray[np.float32], users: NDArray[np.str_], seed: int) -> NDArray[np.float32]:
    """For each question the vector of the next user in a drawn circle: not that of its own, if there are two."""
    _, first, column = np.unique(users, return_index=True, return_inverse=True)
    circle = np.random.default_rng(seed).permutation(len(first))
    follower = np.empty_like(circle)
    follower[circle] = np.roll(circle, -1)
    return vectors_QC[first[follower[column]]]


def _commonest(train: UqaQuestions, asked: UqaQuestions) -> NDArray[np.int64]:
    """The letter that was right most often in the sub-task, or, where training has none of it, at all."""
    by_subtask: dict[str, Counter[str]] = {}
    for subtask, chat in zip(train.subtasks.tolist(), train.chats, strict=True):
        by_subtask.setdefault(subtask, Counter())[chat.letter] += 1
    everywhere = sum(by_subtask.values(), Counter[str]())
    return np.array(
        [_index(by_subtask.get(subtask, everywhere)) for subtask in asked.subtasks.tolist()], dtype=np.int64
    )


def _index(counts: Counter[str]) -> int:
    return LETTERS.index(min(counts, key=lambda letter: (-counts[letter], letter)))


def _named(shares: Sequence[float]) -> dict[str, float]:
    return dict(zip(LETTERS, shares, strict=False))
