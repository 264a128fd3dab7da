"""A Ray cluster of two machines on hosts: the head, where `updater` is called, and a node that may be lost."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from time import monotonic, sleep

from tests.hosts.network import Host, cable, hosts
from tests.hosts.services import Services, services
from tests.hosts.shop import NOW, Shop, environment_with, on_a_host
from updater.objects.filesystem import objects_at
from updater.sources.synthetic import SyntheticSpec

PORT = 6390
PATIENCE = 300
"""Seconds that anything may take on a crowded machine."""
AT_WORK = "ray::Slot.call"
"""How an actor's process calls itself while it does a job."""


class RayNodes:
    """Two hosts with one CPU each, which reach each other and the servers and have no file in common."""

    def __init__(self, head: Host, node: Host, shared: Services, shop: Shop) -> None:
        self.head, self.node, self.services, self.shop = head, node, shared, shop
        self._addresses = cable(head, node)

    def start_head(self) -> None:
        """Start the cluster, on the host with the config and the feature repository."""
        self.head.directory.mkdir(parents=True)
        shutil.copytree(self.shop.directory, self.head.directory / "shop")
        address, _ = self._addresses
        self._start(self.head, "--head", f"--port={PORT}", f"--node-ip-address={address}", "--include-dashboard=false")

    def start_node(self) -> None:
        """Let the other host join, with nothing on it that was there before: no config either."""
        shutil.rmtree(self.node.directory, ignore_errors=True)
        self.node.log.unlink(missing_ok=True)
        head, address = self._addresses
        self._start(self.node, f"--address={head}:{PORT}", f"--node-ip-address={address}")

    def window(self, ds: date, meanwhile: Callable[[], None] = lambda: None) -> str:
        """Run a window on the head's host and call `meanwhile` again and again; what the command logged."""
        run = [sys.executable, "-m", "updater.cli", "run", "--ds", str(ds), "--verbose"]
        log = self.head.directory / f"{ds}.log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                self.head.command(run), env=self._caller, stdin=subprocess.DEVNULL, stdout=written, stderr=written
            )
        deadline = monotonic() + PATIENCE
        while process.poll() is None and monotonic() < deadline:
            meanwhile()
            sleep(0.02)
        process.kill()
        said = log.read_text()
        assert process.wait() == 0, said
        return said

    def at_work(self) -> set[Host]:
        """The hosts on which a job is being done."""
        return {host for host in (self.head, self.node) if any(AT_WORK in title for title in host.titles())}

    def files(self) -> set[str]:
        """Names of all files of the state."""
        store, root = objects_at(self.shop.settings.paths.state)
        return {name.removeprefix(f"{root}/") for name in store.list(root)}

    @property
    def _environment(self) -> Mapping[str, str]:
        ray = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        return {**on_a_host(self.services.environment), **ray}

    @property
    def _caller(self) -> Mapping[str, str]:
        address = f"{self._addresses[0]}:{PORT}"
        return {**self._environment, "UPDATER_RUN__ENGINE": "ray", "UPDATER_RUN__RAY_ADDRESS": address}

    def _start(self, host: Host, *options: str) -> None:
        own = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
        host.start([sys.executable, "-m", "ray.scripts.scripts", "start", *options, *own], self._environment)
        deadline = monotonic() + PATIENCE
        while "Ray runtime started" not in host.log.read_text(errors="replace"):
            assert host.running and monotonic() < deadline, host.log.read_text(errors="replace")
            sleep(0.2)


@contextmanager
def ray_nodes(root: Path, spec: SyntheticSpec) -> Iterator[RayNodes]:
    """An initialized deployment on servers, and a cluster of two hosts that is ready for its windows."""
    root.mkdir(parents=True, exist_ok=True)
    with (
        hosts(root, ["head", "node"]) as (head, node),
        services(root, head.gateway) as shared,
        environment_with(shared.s3 | {"NO_PROXY": "*", "SOURCE_DATE_EPOCH": str(int(NOW.timestamp()))}),
    ):
        made = RayNodes(head, node, shared, Shop.create(root / "shop", shared.environment, spec))
        made.start_head()
        made.start_node()
        yield made
