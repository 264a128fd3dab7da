"""Hosts: network namespaces that reach nothing but this machine's address, without a file in common.

A host sees its own directory as /srv and everything else read-only; /tmp, /dev/shm and where the other hosts' files are
look empty to it. Its processes are in a process namespace, so that all of them end with the first, as they do when a
machine goes down.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

HOME = Path("/srv")
"""Where a host finds its own files."""
ENTER = """
hostname "$1"
mount --bind "$2" /srv
mount -t tmpfs tmpfs "$3"
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /
cd /srv
shift 3
exec "$@"
"""
_FIRST, _NETWORKS = IPv4Address("10.213.0.0"), 1 << 14


def missing() -> str | None:
    """Why there can be no hosts; None if there can."""
    if absent := [tool for tool in ("ip", "unshare", "taskset") if shutil.which(tool) is None]:
        return f"{' and '.join(absent)} are not installed (iproute2, util-linux)"
    name = f"updater-{os.getpid()}-probe"
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        return f"a network namespace cannot be made ({error.stderr.strip()})"
    try:
        subprocess.run(["unshare", "--mount", "--uts", "--pid", "--fork", "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        return f"a namespace of mounts cannot be made ({error.stderr.decode().strip()})"
    finally:
        _ip("netns", "delete", name)
    return None


class Host:
    """One host.

    Args:
        name: its host name.
        number: 0, 1, ... among the hosts of this process.
        directory: its files.
        hidden: a directory with other hosts' files.
    """

    def __init__(self, name: str, number: int, directory: Path, hidden: Path) -> None:
        self.name, self.directory, self.hidden = name, directory, hidden
        self._namespace = f"updater-{os.getpid()}-{name}"
        self._link = f"u{os.getpid()}h{number}"
        network = _FIRST + (os.getpid() * 4 + number) % _NETWORKS * 4
        self.gateway = str(network + 1)
        """This machine's address on the cable to the host."""
        self.address = str(network + 2)
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        """Lay the cable. What the host sends to any address ends at this machine."""
        _ip("netns", "add", self._namespace)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        _ip("address", "add", f"{self.gateway}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        _ip("-n", self._namespace, "link", "set", "lo", "up")
        _ip("-n", self._namespace, "address", "add", f"{self.address}/30", "dev", "eth0")
        _ip("-n", self._namespace, "link", "set", "eth0", "up")
        _ip("-n", self._namespace, "route", "add", "default", "via", self.gateway)

    def disconnect(self) -> None:
        """End what runs there and take the cable away."""
        self.kill()
        _ip("netns", "delete", self._namespace)

    def start(self, command: Sequence[str], env: Mapping[str, str], core: int | None = None) -> None:
        """Run a command on the host, with nothing but `env` in its environment, on one core if asked for.

        What it writes is in <name>.log beside the host's directory.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
        namespaces = ["unshare", "--mount", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
        places = [self.name, str(self.directory), str(self.hidden)]
        inside = [*namespaces, "sh", "-ec", ENTER, "sh", *places, *pinned, *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self._namespace, *inside],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        """Where the output of what runs on the host is."""
        return self.directory.with_suffix(".log")

    @property
    def running(self) -> bool:
        """Whether the command that was started is still there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Switch the host off: SIGKILL for all its processes at once."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def hosts(root: Path, names: Sequence[str]) -> Iterator[list[Host]]:
    """Connected hosts with their files below `root`."""
    made: list[Host] = []
    try:
        for number, name in enumerate(names):
            made.append(Host(name, number, root / name, root))
            made[-1].connect()
        yield made
    finally:
        for host in made:
            host.disconnect()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
