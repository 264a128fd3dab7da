"""Jobs on a Ray cluster of two machines that share no disk, one of which dies: the bytes are one machine's.

docs/scaling.md says what was seen to pass, and on what machine.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.conftest import NO_HOSTS, REQUIRE_SERVICES
from tests.hosts.network import Host, missing
from tests.hosts.ray_nodes import RayNodes, ray_nodes
from tests.hosts.shop import Shop
from updater.sources.synthetic import SyntheticSpec

pytestmark = [
    pytest.mark.services,
    pytest.mark.hosts,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]
SPEC = SyntheticSpec(num_users=1500, num_days=8)
WINDOWS = [SPEC.last_day - timedelta(days=number) for number in reversed(range(3))]
FIRST, SECOND, _ = WINDOWS
DONE_AGAIN = "its job is done again"


class Pair:
    """The same windows on a cluster and on one machine."""

    def __init__(self, cluster: RayNodes, alone: Shop) -> None:
        self.cluster, self.alone = cluster, alone

    def assert_equal(self, ds: date) -> None:
        """What was published, in files and online, is what one machine publishes that runs the window now."""
        self.alone.run(ds)
        assert len(self.alone.published()) > 10
        assert self.cluster.shop.published() == self.alone.published()
        assert self.cluster.shop.online() == self.alone.online()

    def assert_equal_and_go_on(self) -> None:
        """After a first window without the node: equal, and so is the next, with a machine in the place of the lost."""
        self.assert_equal(FIRST)
        self.cluster.start_node()
        assert DONE_AGAIN not in self.cluster.window(SECOND)
        self.assert_equal(SECOND)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """New ones for each test: only the first window is so large that both machines have jobs for sure."""
    if reason := missing():
        if REQUIRE_SERVICES:
            pytest.fail(f"{NO_HOSTS} {reason} (UPDATER_REQUIRE_SERVICES is set)", pytrace=False)
        pytest.skip(f"{NO_HOSTS} {reason}")
    alone = Shop.create(tmp_path / "alone" / "shop", {}, SPEC)
    with ray_nodes(tmp_path / "many", SPEC) as made:
        yield Pair(made, alone)


def test_two_machines_share_windows_and_publish_the_bytes_of_one(pair: Pair) -> None:
    cluster = pair.cluster
    seen: set[Host] = set()
    for ds in WINDOWS:
        assert DONE_AGAIN not in cluster.window(ds, lambda: seen.update(cluster.at_work()))
        assert seen == {cluster.head, cluster.node}
        pair.assert_equal(ds)


def test_a_machine_that_dies_while_it_encodes_is_done_without_and_the_bytes_stay(pair: Pair) -> None:
    cluster = pair.cluster

    def switch_off() -> None:
        if not (cluster.node.running and cluster.node in cluster.at_work()):
            return
        # What there is to encode is written down before it is encoded, and vectors when all of a modality are there.
        there = cluster.files()
        has_begun = any(name.endswith("encoded.json") for name in there)
        if has_begun and not any(name.startswith("texts/") for name in there):
            cluster.node.kill()

    assert DONE_AGAIN in cluster.window(FIRST, switch_off)
    assert not cluster.node.running
    pair.assert_equal_and_go_on()


def test_a_machine_that_dies_while_it_refreshes_is_done_without_and_the_bytes_stay(pair: Pair) -> None:
    trap = pair.cluster.services.trap
    # Of what it puts, the lists of changes are three at most, and encoding puts nothing.
    trap.set(pair.cluster.node, "PUT", 5)
    assert DONE_AGAIN in pair.cluster.window(FIRST)
    assert trap.closed.is_set()
    pair.assert_equal_and_go_on()
