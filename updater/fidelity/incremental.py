"""What daily updates have to keep: parity with a full rebuild, freshness, and locality.

* Parity: embeddings as published day by day are those that a rebuild makes, and answer alike.
* Freshness: questions whose answer rests on the last day are answered better from today's row than from yesterday's.
* Locality: what is kept of a modality in which nothing happened to a user is the same to the bit, and answers alike.
"""

# U users, D columns

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from updater.domain.window import Window
from updater.evaluation.metrics import Estimate, Floats
from updater.fidelity.readers.asked import NO_OPTION, Asked, Bools
from updater.fidelity.readers.probe import Answers, answer
from updater.fidelity.scoring import Scorer, agreement
from updater.fidelity.systems.stored import buffered, stored_summaries
from updater.runtime.deployment import Context, day_before
from updater.runtime.session import Session
from updater.state.event_store import Buffer
from updater.state.summaries import Summaries

CPU_TOLERANCE, GPU_TOLERANCE = 0.0, 1e-3
"""Largest difference of a number of two embeddings that are the same: on a CPU there is none."""


@dataclass(frozen=True)
class Parity:
    """Published embeddings beside those of a rebuild."""

    users: int
    different: int
    """Users whose vectors differ by more than the tolerance."""
    largest: float
    """Difference of any number."""
    agreement: float
    """Share of questions with the same answer."""
    difference: Estimate
    """Accuracy as published less that of the rebuild, paired."""

    @property
    def holds(self) -> bool:
        """True if nobody's vectors differ."""
        return not self.different


@dataclass(frozen=True)
class Freshness:
    """Accuracy of the newest row less that of the row that was there a day before, paired."""

    questions: int
    """Those whose answer rests on an event of the last day."""
    touched: Estimate
    """On these."""
    others: Estimate
    """On all others."""


@dataclass(frozen=True)
class Locality:
    """Summaries of modalities in which nothing happened to a user in the window."""

    pairs: int
    """Users and modalities that were compared."""
    different: int
    """Pairs whose summary is not, to the bit, what it was a day before."""
    questions: int
    """Questions about these modalities to these users, answered from their summaries alone."""
    changed: int
    """Those whose answer changed."""

    @property
    def holds(self) -> bool:
        """True if nothing moved."""
        return not (self.different or self.changed)


def parity(
    asked: Asked, scorer: Scorer, matrices: tuple[Floats, Floats], answers: tuple[Answers, Answers], tolerance: float
) -> Parity:
    """Compare what was published, given first, with a rebuild.

    Args:
        asked: the questions.
        scorer: scores them.
        matrices: vectors of all users, (U, D).
        answers: what was read off them.
        tolerance: how far numbers may be apart.
    """
    distance_U = np.abs(matrices[0] - matrices[1]).max(axis=1, initial=0.0)
    return Parity(
        users=len(asked.users),
        different=int((distance_U > tolerance).sum()),
        largest=float(distance_U.max(initial=0.0)),
        agreement=agreement(*answers),
        difference=scorer.accuracy(answers[0]).minus(scorer.accuracy(answers[1])),
    )


def freshness(asked: Asked, scorer: Scorer, fresh: Answers, stale: Answers) -> Freshness:
    """Compare the newest rows with those of a day before."""
    touched = scorer.accuracy(fresh, asked.touches_delta_Q)
    others = ~asked.touches_delta_Q
    return Freshness(
        questions=touched.num_questions,
        touched=touched.minus(scorer.accuracy(stale, asked.touches_delta_Q)),
        others=scorer.accuracy(fresh, others).minus(scorer.accuracy(stale, others)),
    )


def locality(context: Context, session: Session, window: Window, asked: Asked) -> Locality:
    """Compare stored summaries with what they were a day before, as stored and as made anew from that day's events."""
    users, before = asked.users.tolist(), context.window(day_before(window.ds))
    now, then = (stored_summaries(context, session, at, users) for at in (window, before))
    rebuilt = [event.summarize(np.arange(len(users))) for event in buffered(context, session, before, users)]
    pairs = different = questions = moved = 0
    for modality, again in zip(context.settings.modalities, rebuilt, strict=True):
        untouched_U = ~np.isin(asked.users, _changed(context, session, window, modality.name))
        same_U = _same(now[modality.name], then[modality.name]) & _same(now[modality.name], again)
        pairs += int(untouched_U.sum())
        different += int((untouched_U & ~same_U).sum())
        about = asked.take((asked.modality_Q == modality.name) & (asked.train_Q | untouched_U[asked.user_Q]))
        first = answer(about, _columns(now[modality.name]))
        second = answer(about, _columns(now[modality.name]), _columns(again))
        questions += int((first.choice_Q != NO_OPTION).sum())
        moved += int((first.choice_Q != second.choice_Q).sum())
    return Locality(pairs, different, questions, moved)


def _changed(context: Context, session: Session, window: Window, modality: str) -> Sequence[str]:
    """Users whose content of the modality is another one than a day before."""
    settings = context.settings
    buffer = Buffer(
        session.connection,
        settings.modality(modality),
        context.event_files(modality, window.ds),
        settings.buffer.days,
        settings.timezone,
    )
    users: list[str] = buffer.changes(window)["user_id"].to_pylist()
    return users


def _same(first: Summaries, second: Summaries) -> Bools:
    """Which users' summaries are equal in every bit."""
    parts = zip(_parts(first), _parts(second), strict=True)
    equal = [(one.view(np.uint8) == other.view(np.uint8)).reshape(len(one), -1).all(axis=1) for one, other in parts]
    same: Bools = np.all(equal, axis=0)
    return same


def _parts(summary: Summaries) -> list[np.ndarray]:
    numbers = (summary.num_events_B, summary.first_event_B, summary.last_event_B)
    # Missing times are NaN, of which there are many.
    whole = [np.nan_to_num(part.astype(np.float64), nan=-1.0)[:, None] for part in numbers]
    return [np.ascontiguousarray(part) for part in (summary.mean_BV, *whole, summary.num_recent_BR)]


def _columns(summary: Summaries) -> Floats:
    """A user's summary as a vector: the mean of the events, and logarithms of the counts."""
    counts = np.concatenate([summary.num_events_B[:, None], summary.num_recent_BR], axis=1)
    columns: Floats = np.concatenate([summary.mean_BV, np.log1p(counts)], axis=1).astype(np.float64)
    return columns
