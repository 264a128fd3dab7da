"""What a bucket of users has to have recomputed, decided before anything is done."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BucketPlan:
    """The work of one bucket in one window."""

    changed: Mapping[str, frozenset[str]]
    """Per modality the users whose content changed."""
    users: tuple[str, ...]
    """Users with any changed modality, sorted: all their scenarios are recomputed."""
    backfill_users: tuple[str, ...]
    """Unchanged users who need values of `new_scenarios`, sorted."""
    new_scenarios: tuple[str, ...]
    """Scenarios that were added, or whose query or prefix layout changed, since the bucket's last window. The textual
    profile counts as one (`columns.PROFILE`).
    """

    @property
    def num_prefixes(self) -> int:
        """Prefixes to compute."""
        return len(self.users) + len(self.backfill_users)


def plan_bucket(
    changed: Mapping[str, Collection[str]],
    known_users: Collection[str],
    scenarios: Sequence[str],
    new_scenarios: Collection[str],
) -> BucketPlan:
    """Plan a bucket.

    Args:
        changed: per modality the users that detect found changed.
        known_users: users that the bucket has values of; only looked at if there are new scenarios.
        scenarios: names of the config's scenarios.
        new_scenarios: those that the bucket has no current values of.
    """
    users = {user for names in changed.values() for user in names}
    backfill_users = set(known_users) - users if new_scenarios else set()
    return BucketPlan(
        changed={modality: frozenset(names) for modality, names in changed.items()},
        users=tuple(sorted(users)),
        backfill_users=tuple(sorted(backfill_users)),
        new_scenarios=tuple(name for name in scenarios if name in new_scenarios),
    )


def batch_plans(plans: Sequence[BucketPlan], most_users: int) -> Iterator[Sequence[BucketPlan]]:
    """Batches of neighbouring plans that are computed in one go: of the same new scenarios and with at most
    `most_users` prefixes, or a single plan with more.
    """
    start = num_users = 0
    for end, plan in enumerate(plans):
        same = plan.new_scenarios == plans[start].new_scenarios
        if end > start and (not same or num_users + plan.num_prefixes > most_users):
            yield plans[start:end]
            start, num_users = end, 0
        num_users += plan.num_prefixes
    if plans:
        yield plans[start:]


def merge_plans(plans: Sequence[BucketPlan]) -> BucketPlan:
    """One plan for all users of `plans`, which have the same new scenarios; a user may be in several of them."""
    return BucketPlan(
        changed={
            modality: frozenset().union(*(plan.changed[modality] for plan in plans)) for modality in plans[0].changed
        },
        users=tuple(dict.fromkeys(user for plan in plans for user in plan.users)),
        backfill_users=tuple(dict.fromkeys(user for plan in plans for user in plan.backfill_users)),
        new_scenarios=plans[0].new_scenarios,
    )


def new_scenarios(current: Mapping[str, str], published: Mapping[str, str] | None, same_layout: bool) -> frozenset[str]:
    """Scenarios without current values in a bucket.

    Args:
        current: fingerprint of each declared scenario.
        published: those of the bucket's head; None if nothing is published, when every user counts as changed anyway.
        same_layout: False if the layout of the prefix changed, which makes every scenario new.
    """
    if published is None:
        return frozenset()
    return frozenset(name for name, mark in current.items() if not same_layout or published.get(name) != mark)
