"""A user's vector: the encoder's state at the newest event."""

import numpy as np
import torch
from numpy.typing import NDArray

from updater.encoders.encoder import SequenceEncoder
from updater.encoders.recall import USERS_PER_BATCH
from updater.encoders.sequences import Sequences
from updater.runtime.threads import one_thread


def user_vectors(encoder: SequenceEncoder, sequences: Sequences) -> NDArray[np.float32]:
    """The vectors of all users of `sequences`, shape (users, width)."""
    values = np.zeros((len(sequences.users), encoder.config.width), np.float32)
    # Users of like length together, so that little is padded.
    order = np.argsort(sequences.num_events_U, kind="stable")
    encoder.eval()
    with one_thread(), torch.inference_mode():
        for start in range(0, len(order), USERS_PER_BATCH):
            users = order[start : start + USERS_PER_BATCH]
            batch = sequences.newest(users, encoder.config.max_events)
            states_BLW = encoder(batch)
            values[users] = states_BLW[torch.arange(len(users)), torch.from_numpy(batch.lengths_B) - 1].numpy()
    return values
