"""This process's connection to a running Ray cluster, and whether the cluster can do a deployment's work."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

import ray
from ray.exceptions import RayError

from updater.errors import ConfigError, ServiceUnavailableError
from updater.settings import Settings

_ADDRESS = re.compile(r"auto|[^\s/:]+:\d+|\[[0-9A-Fa-f:]+\]:\d+")
KNOCK_SECONDS = 10.0


class Connection:
    """An open connection, which the process may have had before.

    Raises:
        ConfigError: the config does not go with a cluster, or not with this one.
        ServiceUnavailableError: no cluster is there, or it does not let this process in.
    """

    def __init__(self, settings: Settings) -> None:
        self.address = settings.run.ray_address
        if not _ADDRESS.fullmatch(self.address):
            raise ConfigError(
                f"run.ray_address is {self.address!r} in {settings.source}; use auto for the cluster that this machine "
                "belongs to, or host:port of its head."
            )
        if settings.model.device not in ("cpu", "cuda"):
            raise ConfigError(
                f"model.device is {settings.model.device!r}, which machines of a cluster might take in their own ways; "
                'with run.engine = "ray" set it to cpu, or to cuda for one GPU per slot.'
            )
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _connect(self.address)
        try:
            nodes = [node for node in ray.nodes() if node["Alive"]]
            _check_places(settings, len(nodes))
            resource = "GPU" if settings.model.device == "cuda" else "CPU"
            there = int(sum(node["Resources"].get(resource, 0) for node in nodes))
            if not there:
                raise ConfigError(
                    f"The Ray cluster at {self.address} has no {resource}, which model.device = "
                    f"{settings.model.device!r} needs; start a node with one."
                )
        except BaseException:
            self.close()
            raise
        self.slots = settings.run.processes or there
        self.resources: dict[str, Any] = {"num_cpus": 1, "num_gpus": 1 if resource == "GPU" else 0}
        """What an actor takes of its machine."""

    def close(self) -> None:
        """Leave the cluster, unless this process was in it before."""
        if self._is_ours and ray.is_initialized():
            ray.shutdown()


def _connect(address: str) -> None:
    try:
        _knock(address)
        with _own_signals():
            ray.init(address, namespace="updater", log_to_driver=False, configure_logging=False)
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise ServiceUnavailableError(
            f"The Ray cluster at {address} (run.ray_address) cannot be used from this machine: "
            f"{first_line(error)}; start Ray here (`ray start`), or set run.engine to processes."
        ) from error


def _knock(address: str) -> None:
    """Raise OSError if nobody listens: ray.init would go on trying for more than ten minutes."""
    place = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    if _ADDRESS.fullmatch(place) and place != "auto":
        host, _, port = place.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """ray.init takes SIGTERM for itself, which Airflow and `updater` handle."""
    if current_thread() is not main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _check_places(settings: Settings, num_nodes: int) -> None:
    if num_nodes == 1:
        return
    for key, place, way_out in (
        ("paths.state", settings.paths.state, "s3://bucket/prefix"),
        ("ledger.url", settings.ledger.url, "a PostgreSQL database"),
    ):
        if "://" not in place or place.startswith(("file:", "local:", "sqlite")):
            raise ConfigError(
                f"The Ray cluster has {num_nodes} machines, and {key} in {settings.source} is on one machine's disk, "
                f"where the others do not find it; set it to {way_out}, or run.engine to processes."
            )


def first_line(error: BaseException) -> str:
    """What an error of Ray says first; most go on for many lines."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
