"""Reading option by option, on questions made by hand."""

import numpy as np
import pytest

from tests.fidelity_questions import question, table
from updater.fidelity.readers.asked import NO_OPTION, Asked
from updater.fidelity.readers.options import Phrases, answer_by_option
from updater.fidelity.readers.probe import FEWEST_USERS, Answers, answer, prior
from updater.fidelity.systems.bags import Log, option_counts

VALUES = [f"v{n:02}" for n in range(40)]
NOBODY = Answers(np.zeros(0, np.int64))


def asked_about(num_users: int, options, gold, *, num_train: int, slot: str = "LI:bill.category:90d") -> Asked:
    """Each user is asked the slot; the first `num_train` are fitted to."""
    return Asked.of(
        table([question(f"u{n:04}", slot, options(n), gold(n), train=n < num_train) for n in range(num_users)])
    )


def accuracy(asked: Asked, answers: Answers) -> float:
    test = ~asked.train_Q
    return float((answers.choice_Q == asked.gold_Q)[test].mean())


@pytest.fixture(scope="module")
def many() -> Asked:
    """Of forty values each user likes one best, and is asked about four."""
    rng = np.random.default_rng(0)
    options = [rng.choice(VALUES, 4, replace=False).tolist() for _ in range(600)]
    return asked_about(600, options.__getitem__, lambda n: options[n][n % 4], num_train=400)


def liked(asked: Asked, phrases: Phrases):
    """One column that says whether the option is the user's, beside three of noise."""
    gold = {
        (user, phrases.known[place][2])
        for user, place in zip(
            asked.user_Q.tolist(), phrases.place_QKP[np.arange(len(asked)), asked.gold_Q, 0], strict=True
        )
    }

    def of(users, said):
        rng = np.random.default_rng(1)
        is_gold = [
            (user, phrases.known[place][2]) in gold for user, place in zip(users.tolist(), said.tolist(), strict=True)
        ]
        return np.concatenate([np.array(is_gold, float)[:, None], rng.normal(size=(len(users), 3))], axis=1)

    return of


def test_one_map_is_learned_from_all_options(many: Asked) -> None:
    phrases = Phrases.of(many)
    assert [value for _, _, value in phrases.known] == VALUES
    assert accuracy(many, answer_by_option(many, phrases, liked(many, phrases), prior(many))) == 1.0
    # With a map for each of forty answers, ten users teach each of them.
    assert accuracy(many, answer(many, np.random.default_rng(2).normal(size=(600, 8)))) < 0.5


def test_other_users_know_no_more_than_the_prior(many: Asked) -> None:
    phrases = Phrases.of(many)
    own, moved = liked(many, phrases), np.random.default_rng(3).permutation(600)
    shuffled = answer_by_option(many, phrases, lambda users, said: own(moved[users], said), prior(many))
    assert accuracy(many, shuffled) == pytest.approx(0.25, abs=0.1)


def test_how_common_an_answer_is_is_known_without_the_user() -> None:
    gold = [VALUES[0] if n % 5 else VALUES[1] for n in range(300)]
    asked = asked_about(300, lambda n: VALUES[:4], gold.__getitem__, num_train=200)
    found = answer_by_option(asked, Phrases.of(asked), lambda users, _: np.zeros((len(users), 1)), prior(asked))
    assert np.array_equal(found.choice_Q, prior(asked).choice_Q)


def test_a_sequence_is_read_in_its_order_and_a_set_is_not() -> None:
    turns = ["tea -> rice", "rice -> tea"]
    asked = asked_about(200, lambda n: turns, lambda n: turns[n % 2], num_train=140, slot="IT:bill.category:90d")
    sets = asked_about(
        200, lambda n: ["tea; rice", "rice; tea"], lambda n: ["tea; rice", "rice; tea"][n % 2], num_train=140
    )
    for one, expected in ((asked, 1.0), (sets, None)):
        phrases = Phrases.of(one)
        tea = [value for _, _, value in phrases.known].index("tea")

        def first(users, said, tea=tea):
            # What a user had first: tea if the number is even.
            return ((said == tea) == (users % 2 == 0)).astype(float)[:, None]

        found = accuracy(one, answer_by_option(one, phrases, first, prior(one)))
        assert found == expected if expected else found < 0.7


def test_numbers_of_events_are_answered_otherwise_and_few_users_by_the_prior() -> None:
    counts = asked_about(100, lambda n: ["0", "1"], lambda n: "01"[n % 2], num_train=70, slot="MF:bill:30d")
    phrases = Phrases.of(counts)
    assert phrases.known == () and (phrases.place_QKP == NO_OPTION).all()
    otherwise = answer(counts, np.eye(2)[np.arange(100) % 2])
    kept = answer_by_option(counts, phrases, lambda users, _: np.zeros((len(users), 1)), otherwise)
    assert np.array_equal(kept.choice_Q, otherwise.choice_Q) and accuracy(counts, kept) == 1.0
    few = asked_about(60, lambda n: VALUES[:3], lambda n: VALUES[n % 3], num_train=FEWEST_USERS - 1)
    found = answer_by_option(few, Phrases.of(few), liked(few, Phrases.of(few)), prior(few))
    assert found.num_fallback == 60 - FEWEST_USERS + 1
    assert np.array_equal(found.choice_Q, prior(few).choice_Q)


def test_the_events_of_the_option_itself_are_counted() -> None:
    log = Log(
        users=np.array(["u0", "u1"]),
        offsets_U1=np.array([0, 3, 5]),
        word_E=np.array([0, 1, 0, 1, 2]),
        modality_E=np.array([0, 0, 0, 0, 1]),
        timed_E=np.ones(5, bool),
        modalities=("bill", "app"),
        words=(("bill", "tea"), ("bill", "rice"), ("app", "mail")),
    )
    known = (("", "", "bill"), ("bill", "category", "rice"), ("bill", "category", "tea"), ("bill", "text", "tea"))
    phrases = Phrases(known, np.zeros((0, 4, 1), np.int64), np.zeros(0, bool))
    counted = option_counts(log, (1,), phrases)
    said = np.arange(4)
    assert np.expm1(counted(np.zeros(4, np.int64), said)).round().tolist() == [[1, 3], [0, 1], [1, 2], [0, 0]]
    assert np.expm1(counted(np.ones(4, np.int64), said)).round().tolist() == [[0, 1], [0, 1], [0, 0], [0, 0]]
