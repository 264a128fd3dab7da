"""What questions draw by hash: wrong options, users, and the hashes themselves."""

import numpy as np

from updater.fidelity.hashing import is_train, mix, sample, text_keys
from updater.fidelity.questions.distractors import Pool, draw, near_in_popularity
from updater.fidelity.questions.wording import bucket_name


def test_a_draw_takes_pools_in_their_order_and_no_value_twice() -> None:
    keys, values = text_keys(["q1", "q2"]), text_keys("abcdef")
    first = np.array([[True, True, True, False, False, False], [False] * 6])
    second = np.array([[True] * 6, [False, False, True, True, False, False]])
    options = draw(keys, np.array([0, 2]), values, [Pool(first, most=1), Pool(second)])
    assert options[0, 0] == 0 and options[0, 1] in (1, 2) and len(set(options[0].tolist())) == 4
    assert options[1].tolist() == [2, 3, -1, -1]


def test_near_in_popularity_is_the_nearest_ranks_that_are_allowed() -> None:
    allowed = np.ones((1, 20), bool)
    allowed[0, 9] = False
    pool = near_in_popularity(np.array([10]), allowed)
    assert np.flatnonzero(pool.allowed_QV[0]).tolist() == [6, 7, 8, 11, 12, 13, 14]


def test_hashes_are_the_published_ones() -> None:
    # The first outputs of SplitMix64 seeded with 0 and, for the second, one step later.
    step = 0x9E3779B97F4A7C15
    assert [int(number) for number in mix(np.array([0, step], np.uint64))] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert 0.6 < np.mean([is_train(f"user{n}") for n in range(2000)]) < 0.8
    users = [f"user{n}" for n in range(50)]
    assert set(sample(users, 10)) < set(sample(users, 20)) < set(sample(users, None)) == set(users)


def test_counts_lie_in_buckets_of_base_two() -> None:
    assert [bucket_name(bucket) for bucket in range(5)] == ["0", "1", "2 to 3", "4 to 7", "8 to 15"]
