"""What is right most often, whoever is asked: the answer without a user, which a reader has to beat."""

from collections import Counter
from hashlib import sha256

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def prior_choices(questions: pa.Table) -> NDArray[np.int64]:
    """For each question that is not for training, the option that was right most often for training users of its slot.

    Of equally frequent options the one with the smallest hash, so that no position is favored.
    """
    right: Counter[tuple[str, str]] = Counter()
    rows = questions.select(["slot", "options", "gold", "train"]).to_pylist()
    for row in rows:
        if row["train"]:
            right[row["slot"], row["options"][row["gold"]]] += 1
    return np.array(
        [_likeliest(right, row["slot"], row["options"]) for row in rows if not row["train"]], dtype=np.int64
    )


def _likeliest(right: Counter[tuple[str, str]], slot: str, options: list[str]) -> int:
    return min(
        range(len(options)),
        key=lambda place: (-right[slot, options[place]], sha256(options[place].encode()).digest()),
    )
