"""What an embedding is compared with: counts of what a user did, in all of the buffer or in the last few events.

A column counts the events of a modality, or those whose category has one value. The last N events of a user, as a bag,
are what a language model would be given as text (Text-N of UQABench, arXiv 2502.19178), without the language model.
"""

# U users, E events of all users, D columns of a bag

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from updater.domain.window import Window
from updater.evaluation.metrics import Floats
from updater.fidelity.log.events import TEXT
from updater.fidelity.readers.asked import Int64
from updater.fidelity.readers.options import PairVectors, Phrases
from updater.runtime.deployment import Context
from updater.state.event_store import Buffer

MOST_VALUES = 200
"""Values of a modality's category that are counted, the commonest ones."""


@dataclass(frozen=True, eq=False)
class Log:
    """The buffered events of some users, each user's from the oldest to the newest; a state's rows, which have no
    times, stand behind them.
    """

    users: NDArray[np.str_]
    offsets_U1: Int64
    """User u owns events offsets[u] to offsets[u + 1]."""
    word_E: Int64
    """Position of modality and category among `words`."""
    modality_E: Int64
    """Position of the modality in the config."""
    timed_E: NDArray[np.bool_]
    modalities: tuple[str, ...]
    """Names, as in the config."""
    words: tuple[tuple[str, str], ...]
    """Modalities and values of their categories; an empty value where a modality has none."""


def read_log(context: Context, connection: duckdb.DuckDBPyConnection, window: Window, users: Sequence[str]) -> Log:
    """The events of `users` that the buffer holds at the window's end."""
    settings, files = context.settings, context.all_event_files(window.ds)
    known = np.array(sorted(users), dtype=str)
    wanted = pa.table({"user_id": pa.array(known.tolist(), pa.string())})
    owners, times, numbers, places, words = [], [], [], [], dict[tuple[str, str], int]()
    for number, modality in enumerate(settings.modalities):
        buffer = Buffer(connection, modality, files[modality.name], settings.buffer.days, settings.timezone)
        content = buffer.content(window, wanted, extra=["category"])
        rows = pc.index_in(content["user_id"].combine_chunks(), value_set=wanted["user_id"].combine_chunks())
        owners.append(rows.to_numpy().astype(np.int64))
        at = content["event_time"].cast(pa.int64()).to_numpy().astype(float)
        times.append(np.full(len(at), np.inf) if modality.kind == "snapshot" else at)
        numbers.append(np.full(len(at), number))
        named = [(modality.name, value or "") for value in content["category"].to_pylist()]
        places.append(np.array([words.setdefault(word, len(words)) for word in named], np.int64))
    owner_E, time_E = np.concatenate(owners), np.concatenate(times)
    order = np.lexsort((time_E, owner_E))
    return Log(
        users=known,
        offsets_U1=np.concatenate([[0], np.cumsum(np.bincount(owner_E, minlength=len(known)))]).astype(np.int64),
        word_E=np.concatenate(places)[order],
        modality_E=np.concatenate(numbers)[order],
        timed_E=np.isfinite(time_E[order]),
        modalities=tuple(modality.name for modality in settings.modalities),
        words=tuple(words),
    )


def bag(log: Log, fitted: Collection[str], newest: int | None = None) -> Floats:
    """log(1 + count) of each modality and of each of its commonest values, (U, D).

    Args:
        log: the events.
        fitted: the users by whom values are common.
        newest: only so many events of each user, the newest ones; all, and states as well, if left out.
    """
    owner_E = np.repeat(np.arange(len(log.users)), np.diff(log.offsets_U1))
    counted = np.ones(len(owner_E), dtype=bool) if newest is None else _newest(log, owner_E, newest)
    common = _commonest(log, np.isin(log.users, sorted(fitted))[owner_E])
    num_modalities = 1 + max(log.modality_E, default=-1)
    column_W = np.full(len(log.words), -1)
    column_W[common] = num_modalities + np.arange(len(common))
    counts = np.zeros((len(log.users), num_modalities + len(common)))
    np.add.at(counts, (owner_E[counted], log.modality_E[counted]), 1)
    named = counted & (column_W[log.word_E] >= 0)
    np.add.at(counts, (owner_E[named], column_W[log.word_E[named]]), 1)
    logarithms: Floats = np.log1p(counts)
    return logarithms


def option_counts(log: Log, newest: Sequence[int], phrases: Phrases) -> PairVectors:
    """log(1 + count) of the events that have the option itself: among each user's newest ones, and in the whole buffer.

    Zeros where the log counts no such thing, as with an event's whole text.

    Args:
        log: the events.
        newest: how many of the newest events are looked at.
        phrases: what the options of the questions are made of.
    """
    owner_E = np.repeat(np.arange(len(log.users)), np.diff(log.offsets_U1))
    place = {word: number for number, word in enumerate(log.words)}
    column_F = np.array(
        [
            len(place) if attribute == TEXT else place.get((modality, value), len(place))
            for modality, attribute, value in phrases.known
        ],
        np.int64,
    )
    parts = []
    for kept_E in [*(_newest(log, owner_E, most) for most in newest), log.timed_E]:
        counts = np.zeros((len(log.users), len(log.words) + 1), np.float32)
        np.add.at(counts, (owner_E[kept_E], log.word_E[kept_E]), 1)
        modalities = np.zeros((len(log.users), 1 + max(log.modality_E, default=-1)), np.float32)
        np.add.at(modalities, (owner_E[kept_E], log.modality_E[kept_E]), 1)
        parts.append(np.log1p(np.concatenate([counts, modalities], axis=1)))
    for number, (modality, _, value) in enumerate(phrases.known):
        if not modality and value in log.modalities:
            column_F[number] = len(log.words) + 1 + log.modalities.index(value)
    counts_UWF = np.stack(parts, axis=2)
    return lambda users, said: counts_UWF[users, column_F[said]].astype(float)


def _newest(log: Log, owner_E: Int64, newest: int) -> NDArray[np.bool_]:
    """The last events of each user that have a time."""
    last_U = np.bincount(owner_E[log.timed_E], minlength=len(log.users))
    place_E = np.arange(len(owner_E)) - log.offsets_U1[owner_E]
    kept: NDArray[np.bool_] = log.timed_E & (place_E >= last_U[owner_E] - newest)
    return kept


def _commonest(log: Log, fitted_E: NDArray[np.bool_]) -> Int64:
    """Positions of the words that most events of the fitted users have, the same number of each modality at most."""
    counts_W = np.bincount(log.word_E[fitted_E], minlength=len(log.words))
    found: list[int] = []
    for modality in dict.fromkeys(name for name, _ in log.words):
        own = [w for w, (name, value) in enumerate(log.words) if name == modality and value and counts_W[w]]
        found += sorted(own, key=lambda w: (-counts_W[w], log.words[w]))[:MOST_VALUES]
    return np.array(found, np.int64)
