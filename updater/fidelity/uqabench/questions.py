"""The questions of a file, with the vectors of the users they are about: what is small enough to be held at once."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from updater.fidelity.schema import SUBTASKS
from updater.fidelity.uqabench.chats import Chat, read_chat, subtask_of
from updater.fidelity.uqabench.encoder import SequenceEncoder
from updater.fidelity.uqabench.files import SUBTASK, TEXT, RowFile
from updater.fidelity.uqabench.sequences import read_sequences
from updater.runtime.deployment import Progress

ENCODED_BATCH = 16


@dataclass(frozen=True, eq=False)
class UqaQuestions:
    """Q questions, in the order of the file."""

    chats: tuple[Chat, ...]
    subtasks: tuple[str, ...]
    """Empty for a question of unknown wording."""
    users: NDArray[np.str_]
    """A digest of the items of whom the question is about."""
    vectors_QW: NDArray[np.float32]
    """What the encoder knows of that user."""


def read_questions(encoder: SequenceEncoder, file: RowFile, max_events: int, progress: Progress) -> UqaQuestions:
    """Read a file of questions, and encode its users, a few rows at a time.

    Raises:
        DataRefusedError: a row's chat or sequences cannot be read.
    """
    chats: list[Chat] = []
    subtasks: list[str] = []
    users: list[str] = []
    vectors = []
    with torch.inference_mode():
        for rows in file.slices(ENCODED_BATCH):
            sequences = read_sequences(rows, max_events)
            vectors.append(encoder.user_vectors(sequences).cpu().numpy())
            users += sequences.users()
            found = [read_chat(text or "", file.path) for text in rows[TEXT].to_pylist()]
            chats += found
            if SUBTASK in file.columns:
                subtasks += [name if name in SUBTASKS else "" for name in rows[SUBTASK].to_pylist()]
            else:
                subtasks += [subtask_of(chat.question) or "" for chat in found]
            progress("encode users", len(chats), file.num_rows)
    width = encoder.project.out_features
    return UqaQuestions(
        tuple(chats),
        tuple(subtasks),
        np.array(users, dtype=np.str_),
        np.concatenate([np.zeros((0, width), dtype=np.float32), *vectors]),
    )
