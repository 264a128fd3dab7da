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
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

import psutil

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
_CABLE = 3
"""Number of the network between two hosts; those from hosts to this machine have the numbers before it."""


def missing() -> str | None:
    """Why there can be no hosts; None if there can."""
    if absent := [tool for tool in ("ip", "unshare", "nsenter", "taskset") if shutil.which(tool) is None]:
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
        self.namespace = f"updater-{os.getpid()}-{name}"
        self._link = f"u{os.getpid()}h{number}"
        network = _network(number)
        self.gateway = str(network + 1)
        """This machine's address on the cable to the host."""
        self.address = str(network + 2)
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        """Lay the cable. What the host sends to any address ends at this machine."""
        _ip("netns", "add", self.namespace)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _ip("address", "add", f"{self.gateway}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        _ip("-n", self.namespace, "link", "set", "lo", "up")
        _ip("-n", self.namespace, "address", "add", f"{self.address}/30", "dev", "eth0")
        _ip("-n", self.namespace, "link", "set", "eth0", "up")
        _ip("-n", self.namespace, "route", "add", "default", "via", self.gateway)

    def disconnect(self) -> None:
        """End what runs there and take the cable away."""
        self.kill()
        # A namespace is there until its last connection is over, which may take minutes.
        _ip("link", "delete", self._link)
        _ip("netns", "delete", self.namespace)

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
                ["ip", "netns", "exec", self.namespace, *inside],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def command(self, command: Sequence[str]) -> list[str]:
        """What to call here to run a command on the host, beside the one that was started."""
        assert self._process is not None, f"{self.name} is switched off"
        [first] = psutil.Process(self._process.pid).children()
        return ["nsenter", f"--target={first.pid}", "--mount", "--uts", "--pid", "--net", f"--wdns={HOME}", *command]

    def titles(self) -> list[str]:
        """What the processes of the host call themselves, if it is on."""
        found = []
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                for process in psutil.Process(self._process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                        found.append(" ".join(process.cmdline()).strip())
        return found

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


def cable(one: Host, two: Host) -> tuple[str, str]:
    """Connect two hosts with each other; their addresses on that cable."""
    network = _network(_CABLE)
    _ip("-n", one.namespace, "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", two.namespace)
    ends = {one: str(network + 1), two: str(network + 2)}
    for host, address in ends.items():
        _ip("-n", host.namespace, "address", "add", f"{address}/30", "dev", "eth1")
        _ip("-n", host.namespace, "link", "set", "eth1", "up")
    return ends[one], ends[two]


def _network(number: int) -> IPv4Address:
    """One of four small networks of this process."""
    return _FIRST + (os.getpid() * 4 + number) % _NETWORKS * 4


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
