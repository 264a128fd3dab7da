"""The questions of a file, and the vectors of the users they are about: what is small enough to be held at once."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from updater.fidelity.schema import SUBTASKS
from updater.fidelity.uqabench.chats import Chat, read_chat, subtask_of
from updater.fidelity.uqabench.encoder import SequenceEncoder
from updater.fidelity.uqabench.files import SUBTASK, TEXT, TITLE, RowFile
from updater.fidelity.uqabench.sequences import read_sequences
from updater.runtime.deployment import Progress

BATCH = 16


@dataclass(frozen=True, eq=False)
class UqaQuestions:
    """Q questions, in the order of the file."""

    chats: tuple[Chat, ...]
    subtasks: NDArray[np.str_]
    """Empty for a question of unknown wording."""
    users: NDArray[np.str_]
    """A digest of the items of whom the question is about."""
    titles: tuple[list[list[int]], ...]
    """Token ids of the titles of that user's newest items, oldest first; as many as were asked for."""


def read_questions(file: RowFile, max_events: int, newest: int) -> UqaQuestions:
    """Read a file of questions, a few rows at a time.

    Args:
        file: with questions.
        max_events: positions by which a user is known.
        newest: titles that are kept of each user.

    Raises:
        DataRefusedError: a row's chat or sequences cannot be read.
    """
    chats: list[Chat] = []
    named: list[str | None] = []
    users: list[str] = []
    titles: list[list[list[int]]] = []
    for rows in file.slices(BATCH):
        sequences = read_sequences(rows, max_events)
        users += sequences.users()
        titles += sequences.newest(TITLE, newest)
        found = [read_chat(text or "", file.path) for text in rows[TEXT].to_pylist()]
        chats += found
        if SUBTASK in file.columns:
            named += [name if name in SUBTASKS else None for name in rows[SUBTASK].to_pylist()]
        else:
            named += [subtask_of(chat.question) for chat in found]
    subtasks = np.array([name or "" for name in named], dtype=np.str_)
    return UqaQuestions(tuple(chats), subtasks, np.array(users, dtype=np.str_), tuple(titles))


def user_vectors(encoder: SequenceEncoder, file: RowFile, max_events: int, progress: Progress) -> NDArray[np.float32]:
    """What the encoder knows of the user of each row, shape (Q, width), a few rows at a time."""
    vectors = [np.zeros((0, encoder.project.out_features), dtype=np.float32)]
    done = 0
    with torch.inference_mode():
        for rows in file.slices(BATCH):
            vectors.append(encoder.user_vectors(read_sequences(rows, max_events)).cpu().numpy())
            done += rows.num_rows
            progress("encode users", done, file.num_rows)
    return np.concatenate(vectors)
