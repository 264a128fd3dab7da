"""Which pairs each step learns from: a pure function of seed and step."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model_factories import QUERIES
from tests.training_data import ANCHORS, OWN, make_options, make_profiles, make_rows, make_table
from tests.training_data import make_paper_model as make_model
from updater.domain.buckets import is_held_out
from updater.domain.declared.training import Training
from updater.errors import ConfigError
from updater.training.paper.pairs import PairTable, pairs_of_step, read_pairs, users_of_step
from updater.training.steps.distributed import Rank

OPTIONS = make_options()
MODEL = make_model()
TABLE, SAME_TABLE = make_table(MODEL, OPTIONS), make_table(MODEL, OPTIONS)
STEPS_PER_EPOCH = sum(sum(anchor == each for anchor, _ in TABLE.keys) // OPTIONS.users_per_step for each in ANCHORS)


def words(table: PairTable, tokens: tuple[int, ...]) -> str:
    return str(MODEL.tokenizer.decode(list(tokens)))


def table_of(rows: pa.Table, options: Training = OPTIONS) -> PairTable:
    users = sorted(set(rows["user_id"].to_pylist()))
    profiles = {anchor: make_profiles(anchor, users) for anchor in set(rows["anchor_day"].to_pylist())}
    return read_pairs(rows, profiles, MODEL, options, set())


@given(st.integers(0, 200), st.integers(1, 3))
def test_users_follow_from_seed_and_step_and_are_of_one_day(step: int, seed: int) -> None:
    options = dataclasses.replace(OPTIONS, seed=seed)
    users = users_of_step(TABLE, options, step)
    np.testing.assert_array_equal(users, users_of_step(SAME_TABLE, options, step))
    assert len(set(users.tolist())) == len(users) == OPTIONS.users_per_step
    assert len({TABLE.keys[row][0] for row in users}) == 1


def test_an_epoch_takes_each_profile_once_but_for_an_incomplete_step() -> None:
    assert STEPS_PER_EPOCH > 4
    epochs = []
    for epoch in range(3):
        steps = [users_of_step(TABLE, OPTIONS, epoch * STEPS_PER_EPOCH + step) for step in range(STEPS_PER_EPOCH)]
        seen = np.concatenate(steps)
        assert len(np.unique(seen)) == len(seen)
        assert len(TABLE.keys) - len(seen) < len(ANCHORS) * OPTIONS.users_per_step
        epochs.append({frozenset(step.tolist()) for step in steps})
    assert epochs[0] != epochs[1] != epochs[2]


def test_users_of_a_step_are_of_like_length() -> None:
    def spread(step: int) -> int:
        return int(np.ptp(TABLE.sizes[users_of_step(TABLE, OPTIONS, step)]))

    assert np.mean([spread(step) for step in range(STEPS_PER_EPOCH)]) < np.ptp(TABLE.sizes) / 2


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_shares_of_processes_are_disjoint_and_all(count: int) -> None:
    users = users_of_step(TABLE, OPTIONS, 5)
    shares = [users[Rank(index, count).share(OPTIONS.users_per_step)] for index in range(count)]
    assert {len(share) for share in shares} == {OPTIONS.users_per_step // count}
    np.testing.assert_array_equal(np.concatenate(shares), users)


def test_users_of_a_step_are_asked_the_same_shared_questions() -> None:
    asked = set()
    for step in range(STEPS_PER_EPOCH):
        _, pairs = pairs_of_step(TABLE, users_of_step(TABLE, OPTIONS, step), OPTIONS, step)
        texts = [[words(TABLE, question) for question in row] for row in pairs.questions]
        # future_share 0.7 of 4 pairs.
        [shared] = {tuple(row[:3]) for row in texts}
        assert set(shared) <= set(QUERIES)
        assert {row[3] for row in texts} <= set(OWN)
        asked.add(shared)
    assert len(asked) > 1


def test_processes_see_what_one_process_sees() -> None:
    rows = users_of_step(TABLE, OPTIONS, 3)
    batch, pairs = pairs_of_step(TABLE, rows, OPTIONS, 3)
    for index in range(2):
        share = Rank(index, 2).share(OPTIONS.users_per_step)
        part, own = pairs_of_step(TABLE, rows[share], OPTIONS, 3)
        assert list(own.questions) == list(pairs.questions)[share]
        np.testing.assert_array_equal(own.answer_ids[own.answer_BK], pairs.answer_ids[pairs.answer_BK[share]])
        np.testing.assert_array_equal(own.predicted_BK, pairs.predicted_BK[share])
        for modality, whole in zip(part.modalities, batch.modalities, strict=True):
            np.testing.assert_array_equal(modality.counts_B, whole.counts_B[share])


def test_pairs_of_a_step_are_rows_of_the_data() -> None:
    rows = make_rows({anchor: make_profiles(anchor, sorted(f"u{n}" for n in range(40))) for anchor in ANCHORS})
    known = {tuple(row.values()) for row in rows.drop_columns(["generator"]).to_pylist()}
    for step in range(STEPS_PER_EPOCH):
        chosen = users_of_step(TABLE, OPTIONS, step)
        _, pairs = pairs_of_step(TABLE, chosen, OPTIONS, step)
        assert pairs.predicted_BK.sum(axis=1).tolist() == [OPTIONS.predicted_pairs] * len(chosen)
        assert len(set(map(tuple, pairs.answers))) == len(pairs.answers)
        for row, questions, answers in zip(chosen, pairs.questions, pairs.answer_BK, strict=True):
            anchor, place = TABLE.keys[row]
            user = str(TABLE.profiles[anchor].users[place])
            for question, answer in zip(questions, answers, strict=True):
                assert (user, anchor, words(TABLE, question), words(TABLE, pairs.answers[answer])) in known


def test_held_out_users_never_occur() -> None:
    users = [str(TABLE.profiles[anchor].users[place]) for anchor, place in TABLE.keys]
    assert not any(map(is_held_out, users))
    everybody = {user for profiles in TABLE.profiles.values() for user in profiles.users.tolist()}
    assert set(users) == {user for user in everybody if not is_held_out(user)} != everybody
    assert len(TABLE.question) == len(TABLE.keys) * (len(QUERIES) + len(OWN))


def test_a_user_without_profile_is_left_out_and_texts_are_cut() -> None:
    profiles = {ANCHORS[0]: make_profiles(ANCHORS[0], ["u1", "u2"])}
    rows = make_rows({anchor: make_profiles(anchor, ["u1", "u2", "u3"]) for anchor in ANCHORS})
    options = make_options(max_question_tokens=3, max_answer_tokens=1)
    table = read_pairs(rows, profiles, MODEL, options, set())
    assert table.keys == ((ANCHORS[0], 0), (ANCHORS[0], 1))
    assert max(len(table.tokens[position]) for position in table.question) == 3
    assert {len(table.tokens[position]) for position in table.answer} == {1}
    np.testing.assert_array_equal(
        table.vocabulary, sorted({table.tokens[position][0] for position in table.answer.tolist()})
    )


def test_short_profiles_repeat_pairs_and_a_single_pair_is_too_few() -> None:
    rows = make_rows({ANCHORS[0]: make_profiles(ANCHORS[0], ["u1", "u2", "u3"])}).to_pylist()
    left = [row for row in rows if row["user_id"] == "u1"][:1] + [row for row in rows if row["user_id"] == "u2"][2:5]
    left += [row for row in rows if row["user_id"] == "u3"]
    table = table_of(pa.Table.from_pylist(left), make_options(users_per_step=2))
    assert [str(table.profiles[anchor].users[place]) for anchor, place in table.keys] == ["u2", "u3"]
    options = make_options(users_per_step=2, pairs_per_user=8)
    for step in range(4):
        _, pairs = pairs_of_step(table, np.array([0, 1]), options, step)
        asked = [[words(table, question) for question in row] for row in pairs.questions]
        assert [len(row) for row in asked] == [8, 8]
        assert set(asked[0]) == {row["question"] for row in left if row["user_id"] == "u2"}
        assert set(asked[1]) == {*QUERIES, *OWN}


def test_without_own_questions_all_are_shared_and_the_other_way_round() -> None:
    rows = make_rows({ANCHORS[0]: make_profiles(ANCHORS[0], ["u1", "u2"])})
    for wanted in (set(QUERIES), set(OWN)):
        table = table_of(rows.filter(pa.compute.is_in(rows["question"], pa.array(sorted(wanted)))))
        _, pairs = pairs_of_step(table, np.array([0, 1]), make_options(pairs_per_user=3), 0)
        assert [{words(table, question) for question in row} for row in pairs.questions] == [wanted, wanted]


def test_more_users_than_a_day_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="users_per_step"):
        users_of_step(TABLE, make_options(users_per_step=40), 0)
