"""What a bucket has to have recomputed."""

import pytest

from updater.domain.plan import BucketPlan, batch_plans, merge_plans, new_scenarios, plan_bucket

SCENARIOS = ("lapse", "takeout", "brand")


def test_changed_users_of_all_modalities_once_and_sorted() -> None:
    plan = plan_bucket({"bill": ["v", "u"], "search": ["u"], "app": []}, ["u", "v", "w"], SCENARIOS, ())
    assert plan.users == ("u", "v")
    assert plan.changed == {"bill": {"u", "v"}, "search": {"u"}, "app": frozenset()}
    assert (plan.backfill_users, plan.new_scenarios, plan.num_prefixes) == ((), (), 2)


def test_a_new_scenario_needs_everybody_who_is_known() -> None:
    plan = plan_bucket({"bill": ["new", "u"]}, ["w", "u", "v"], SCENARIOS, {"brand", "lapse"})
    assert (plan.users, plan.backfill_users) == (("new", "u"), ("v", "w"))
    assert plan.new_scenarios == ("lapse", "brand")
    assert plan.num_prefixes == 4


def test_nothing_to_do() -> None:
    assert plan_bucket({"bill": []}, ["u"], SCENARIOS, ()) == BucketPlan({"bill": frozenset()}, (), (), ())


@pytest.mark.parametrize(
    ("published", "same_layout", "new"),
    [
        (None, True, set()),
        (None, False, set()),
        ({"lapse": "1", "takeout": "2"}, True, set()),
        ({"lapse": "1"}, True, {"takeout"}),
        ({"lapse": "0", "takeout": "2", "gone": "3"}, True, {"lapse"}),
        ({"lapse": "1", "takeout": "2"}, False, {"lapse", "takeout"}),
        ({}, True, {"lapse", "takeout"}),
    ],
)
def test_which_scenarios_lack_values(published: dict[str, str] | None, same_layout: bool, new: set[str]) -> None:
    assert new_scenarios({"lapse": "1", "takeout": "2"}, published, same_layout) == new


def plan_of(users: str, backfill_users: str = "", new: tuple[str, ...] = ()) -> BucketPlan:
    return BucketPlan({"bill": frozenset(users[:1]), "app": frozenset(users)}, tuple(users), tuple(backfill_users), new)


@pytest.mark.parametrize(
    ("plans", "sizes"),
    [
        ([], []),
        ([plan_of("")], [1]),
        ([plan_of("ab"), plan_of("c"), plan_of("d")], [2, 1]),
        ([plan_of("abcde"), plan_of("f"), plan_of("gh"), plan_of("ijkl")], [1, 2, 1]),
        ([plan_of("a"), plan_of("b", new=("lapse",)), plan_of("c", new=("lapse",))], [1, 2]),
        ([plan_of("a", "bc", ("lapse",)), plan_of("d", "", ("lapse",))], [1, 1]),
    ],
)
def test_small_neighbours_that_ask_the_same_go_together(plans: list[BucketPlan], sizes: list[int]) -> None:
    groups = list(batch_plans(plans, 3))
    assert [len(group) for group in groups] == sizes
    assert [plan for group in groups for plan in group] == plans


def test_a_joined_plan_has_every_user_once() -> None:
    joined = merge_plans([plan_of("ab", "z", ("lapse",)), plan_of("cb", "y", ("lapse",))])
    assert joined == BucketPlan(
        {"bill": frozenset("ac"), "app": frozenset("abc")}, ("a", "b", "c"), ("z", "y"), ("lapse",)
    )
