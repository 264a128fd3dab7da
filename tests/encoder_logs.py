"""A made-up log on which the next item follows from the last one, for tests of the sequence encoders."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import torch

from updater.encoders.config import Architecture, EncoderConfig
from updater.encoders.encoder import SequenceEncoder
from updater.encoders.log import Log
from updater.encoders.sequences import FIRST, Sequences, Sizes

ANCHOR = date(2024, 3, 10)
NUM_ITEMS = 60
SIZES = Sizes(items=FIRST + NUM_ITEMS, categories=6, modalities=3, numbers=2, text_dim=5)


def make_sequences(items: Sequence[Sequence[int]], seed: int = 0) -> Sequences:
    """Sequences of users u0, u1, … with these items; all else is drawn."""
    rng = np.random.default_rng(seed)
    lengths = [len(one) for one in items]
    total = sum(lengths)
    texts = rng.standard_normal((SIZES.items, SIZES.text_dim)).astype(np.float16)
    gaps = rng.exponential(86_400.0, total)
    flat = np.array([item for one in items for item in one], np.int64)
    return Sequences(
        users=np.array([f"u{user}" for user in range(len(items))]),
        offsets_U1=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items_N=flat,
        modalities_N=rng.integers(1, SIZES.modalities, total),
        categories_N=rng.integers(0, SIZES.categories, total),
        hours_N=rng.integers(1, 25, total),
        gaps_N=np.log1p(gaps / 86_400).astype(np.float32),
        seconds_N=1.7e9 + np.cumsum(gaps),
        numbers_NC=rng.standard_normal((total, SIZES.numbers)).astype(np.float32),
        text_rows_N=flat,
        texts_TX=texts,
    )


def make_log(num_users: int = 120, length: int = 24) -> Log:
    """Each user goes round a circle of all items, from an item of its own."""
    circle = FIRST + np.random.default_rng(1).permutation(NUM_ITEMS)
    walks = [circle[(7 * user + np.arange(length)) % NUM_ITEMS].tolist() for user in range(num_users)]
    sequences = make_sequences(walks)
    counts = np.bincount(sequences.items_N, minlength=SIZES.items)
    return Log({ANCHOR: sequences}, (ANCHOR,), SIZES, counts)


def make_encoder(architecture: Architecture, **changes: bool | int | float) -> SequenceEncoder:
    """A small random encoder, ready to be asked."""
    values = {"width": 8, "layers": 2, "heads": 2, "state_size": 4, "max_events": 16, **changes}
    torch.manual_seed(3)
    encoder = SequenceEncoder(EncoderConfig(architecture=architecture, **values), SIZES, torch.ones(SIZES.items))
    with torch.no_grad():
        # Of the size that training gives them: at their initial sizes a wrong bias could hide in the tolerance.
        for weight in encoder.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    return encoder.eval()
