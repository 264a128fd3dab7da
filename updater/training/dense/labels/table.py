"""The table of answers that a model is trained on: profiles of all anchor days, questions, five answers to each."""

# U users of an anchor day, Q questions, C of them that count days, K answers

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from updater.domain.buckets import is_held_out, is_sampled, is_validation
from updater.errors import ConfigError
from updater.model.batch import Int64
from updater.runtime.deployment import Context, Progress, no_progress
from updater.state.event_store import connect
from updater.training.build import never_asked
from updater.training.dense.labels.outcomes import ANSWERS, OutcomeReader, Outcomes
from updater.training.dense.labels.questions import Question, make_questions
from updater.training.dense.labels.values import common_values
from updater.training.profiles import Profiles
from updater.training.steps.distributed import Rank, deal_out

QUANTILES = (0.15, 0.35, 0.5, 0.7, 0.9)
"""Of a measure over the training profiles; an answer is whether a user's lies above."""
LEAST_BUYERS = 20
"""Training profiles with a value in their futures; a question about a rarer one is not asked."""
KNOWN = 1 << ANSWERS
"""The bit of an answer that says that there is one."""
SMOOTHING = 0.5
PRIOR_PROFILES = 50
"""Profiles of all anchor days that an anchor day's own log odds are mixed with."""


@dataclass(frozen=True)
class DenseTable:
    """Answers beside the profiles that they are about. Bit k of an answer is answer k, `KNOWN` says that it is one."""

    questions: tuple[Question, ...]
    """Those that count days come first."""
    num_counted: int
    priors_QK: npt.NDArray[np.float32]
    """Log odds of each answer among the training profiles."""
    anchor_priors: Mapping[date, npt.NDArray[np.float32]]
    """The same of each training anchor day, so that nothing has to be learned of what was more common on which day."""
    profiles: Mapping[date, Profiles]
    answers: Mapping[date, npt.NDArray[np.uint8]]
    """Of each anchor day, shape (U, Q)."""
    train: tuple[tuple[date, int], ...]
    """Anchor day and row of each profile that is trained on."""
    sizes: Int64
    """Event tokens of each of them, by which users of like length share a step."""
    valid: tuple[tuple[date, int], ...]
    """Profiles of the validation anchor, of the same users as in training; without one, those of a tenth of the users
    at the last training anchor, who are then not trained on."""

    def targets(self, anchor: date, rows: Int64, asked: Int64) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Answers of the profiles at `rows` to the questions `asked`, (rows, asked, K), and which are known."""
        bits = self.answers[anchor][np.ix_(rows, asked)]
        return (bits[:, :, None] >> np.arange(ANSWERS) & 1).astype(np.float32), bits & KNOWN > 0

    def priors(self, anchor: date) -> npt.NDArray[np.float32]:
        """Log odds of each answer at an anchor day, (Q, K): of all days where nothing of its own is known."""
        return self.anchor_priors.get(anchor, self.priors_QK)

    def trained_profiles(self) -> list[Profiles]:
        """The profiles of the training anchors."""
        return [self.profiles[anchor] for anchor in dict.fromkeys(anchor for anchor, _ in self.train)]


def read_table(
    context: Context,
    last: date,
    profiles: Mapping[date, Profiles],
    train: Collection[date],
    progress: Progress = no_progress,
    rank: Rank | None = None,
) -> DenseTable:
    """Count the answers of `profiles`, those of the anchor days `train` and others to validate by.

    Nothing is read that landed after `last`. Of processes that train together each counts some days' for all.

    What is asked is decided by what had landed by the first anchor; quantiles, priors and which values have buyers
    enough by the training profiles.

    Raises:
        ConfigError: nobody is left to train on.
    """
    settings, options = context.settings, context.settings.training
    files = context.all_event_files(last)
    anchors = sorted(profiles)
    trained = {anchor: _trained(profiles[anchor], options.users_share) for anchor in anchors}
    with connect(settings.paths.state) as connection:
        values = common_values(connection, settings, files, anchors[0])
        asked = make_questions(settings.modalities, values, never_asked(settings), options.future_days)
        reader = OutcomeReader(connection, settings, files)

        def count(anchor: date) -> Outcomes:
            return reader.read(anchor, profiles[anchor].users.tolist(), asked, options.future_days)

        outcomes: dict[date, Outcomes] = {}
        progress("counting answers", 0, len(anchors))
        for anchor, outcome in zip(anchors, deal_out(count, anchors, rank or Rank()), strict=True):
            outcomes[anchor] = outcome
            trained[anchor] &= outcome.known_U
            progress("counting answers", len(outcomes), len(anchors))
    learned = {anchor: np.flatnonzero(trained[anchor]) for anchor in anchors if anchor in train}
    if not any(len(rows) for rows in learned.values()):
        raise ConfigError("No profile is left to train on; land more days, or raise training.users_share.")
    valid = {anchor: np.flatnonzero(trained[anchor]) for anchor in anchors if anchor not in learned}
    if not valid:
        learned, valid = _split_by_user(profiles, learned)
    return make_table(asked, outcomes, profiles, learned, valid)


def make_table(
    asked: Sequence[Question],
    outcomes: Mapping[date, Outcomes],
    profiles: Mapping[date, Profiles],
    train: Mapping[date, Int64],
    valid: Mapping[date, Int64],
) -> DenseTable:
    """Turn outcomes into answers; `train` and `valid` have the rows that are trained on and validated by."""
    counted = [question for question in asked if question.is_counted]
    buyers = sum((outcomes[a].answers_UC[rows] & 1).sum(axis=0, dtype=np.int64) for a, rows in train.items())
    kept = np.flatnonzero(np.asarray(buyers) >= LEAST_BUYERS)
    measured = np.concatenate([outcomes[anchor].measures_UA[rows] for anchor, rows in train.items()])
    thresholds_KA = _quantiles(measured)
    answers = {anchor: _answers(outcome, kept, thresholds_KA) for anchor, outcome in outcomes.items()}
    seen = {anchor: answers[anchor][rows] for anchor, rows in train.items()}
    priors_QK = _log_odds(np.concatenate(list(seen.values())))
    keys = tuple((anchor, int(row)) for anchor in sorted(train) for row in train[anchor])
    return DenseTable(
        questions=(*(counted[number] for number in kept), *asked[len(counted) :]),
        num_counted=len(kept),
        priors_QK=priors_QK,
        anchor_priors={anchor: _log_odds(of_anchor, priors_QK) for anchor, of_anchor in seen.items()},
        profiles=profiles,
        answers=answers,
        train=keys,
        sizes=np.array([profiles[anchor].num_tokens(row) for anchor, row in keys], dtype=np.int64),
        valid=tuple((anchor, int(row)) for anchor in sorted(valid) for row in valid[anchor]),
    )


def _trained(profiles: Profiles, share: float) -> npt.NDArray[np.bool_]:
    users = profiles.users.tolist()
    return np.array([not is_held_out(user) and is_sampled(user, share) for user in users], dtype=bool)


def _split_by_user(
    profiles: Mapping[date, Profiles], learned: Mapping[date, Int64]
) -> tuple[dict[date, Int64], dict[date, Int64]]:
    """Rows to train on, and rows of other users to validate by; nobody to validate by if they would be all."""
    chosen = {
        anchor: np.array([is_validation(user) for user in profiles[anchor].users[rows].tolist()], dtype=bool)
        for anchor, rows in learned.items()
    }
    if all(of_anchor.all() for of_anchor in chosen.values()):
        return dict(learned), {}
    last = max(anchor for anchor, rows in learned.items() if len(rows))
    return {anchor: rows[~chosen[anchor]] for anchor, rows in learned.items()}, {last: learned[last][chosen[last]]}


def _quantiles(measures_NA: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values that occur, (K, A), so that whole numbers stay whole; infinite where nothing is known."""
    found = np.full((ANSWERS, measures_NA.shape[1]), np.inf, dtype=np.float32)
    for column, values in enumerate(measures_NA.T):
        known = values[~np.isnan(values)]
        if len(known):
            found[:, column] = np.quantile(known, QUANTILES, method="lower")
    return found


def _answers(outcome: Outcomes, kept: Int64, thresholds_KA: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    above_KUA = outcome.measures_UA > thresholds_KA[:, None]
    bits = (above_KUA << np.arange(ANSWERS)[:, None, None]).sum(axis=0).astype(np.uint8)
    bits |= np.where(np.isnan(outcome.measures_UA), 0, KNOWN).astype(np.uint8)
    return np.concatenate([outcome.answers_UC[:, kept] | KNOWN, bits], axis=1).astype(np.uint8)


def _log_odds(
    answers_NQ: npt.NDArray[np.uint8], priors_QK: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Of each answer, (Q, K), smoothed."""
    known_Q = (answers_NQ & KNOWN > 0).sum(axis=0)
    yes_KQ = np.stack([(answers_NQ >> k & 1).sum(axis=0) for k in range(ANSWERS)])
    # By few profiles that are undecided, or by more that answer as all days' do.
    profiles, shares_KQ = 2 * SMOOTHING, np.full(yes_KQ.shape, 0.5)
    if priors_QK is not None:
        profiles, shares_KQ = PRIOR_PROFILES, 1 / (1 + np.exp(-priors_QK.T.astype(np.float64)))
    odds = (yes_KQ + profiles * shares_KQ) / (known_Q - yes_KQ + profiles * (1 - shares_KQ))
    log_odds: npt.NDArray[np.float32] = np.log(odds.T).astype(np.float32)
    return log_odds
