"""`feast serve` under a steady load: so many requests a second arrive, whether or not the ones before were answered.

    python -m benchmarks.serve                              200 requests a second for 30 seconds, two worker processes
    python -m benchmarks.serve --rate 100 --workers 1       and what else can be given: --seconds, --users, --store

Each request asks for all features of one user of a service of three scenarios, over a connection that is kept. Its time
runs from when it was due, so waiting behind a slow one counts. Server and client share the machine's cores. Prints one
JSON value; nothing is written.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from benchmarks.stores import FEATURE_REPO, SCENARIOS, SERVICE, STORES, make_settings, user_id, write_offline
from updater.domain.columns import SUMMARIES_VIEW, scenario_view
from updater.settings import Settings
from updater.store.access import materialize
from updater.store.definitions import apply

FEAST = str(Path(sys.executable).with_name("feast"))
CONNECTIONS = 32
WARMING = 100
"""Requests before those that are measured: each worker opens the store at its first one."""
LONGEST_START = 120
PERCENTILES = (50, 90, 99)


def main() -> None:
    """Measure once, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else "", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they arrive")
    parser.add_argument("--workers", type=int, default=2, help="processes of the server")
    parser.add_argument("--users", type=int, default=20_000, help="users in the online store")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="type of the online store")
    parser.add_argument(
        "--max-requests", type=int, default=0, help="requests after which a worker is replaced; 0: never"
    )
    args = parser.parse_args()
    with TemporaryDirectory(prefix="updater-bench-") as root:
        settings = make_settings(Path(root), args.store)
        apply(settings)
        materialize(
            settings, write_offline(settings, args.users), [*(scenario_view(n, 1) for n in SCENARIOS), SUMMARIES_VIEW]
        )
        with served(settings, args.workers, args.max_requests) as (port, server):
            found = asyncio.run(load(port, server, args.rate, args.seconds, args.users))
    load_average = os.getloadavg()[0]
    print(
        json.dumps({**vars(args), **found, "cores": os.cpu_count(), "load_average": round(load_average, 1)}, indent=1)
    )


@contextmanager
def served(settings: Settings, workers: int, max_requests: int) -> Iterator[tuple[int, psutil.Process]]:
    """A feature server on a free port of loopback, once it listens; it and its workers are stopped afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    yaml = f"{settings.paths.state}/feature_store.yaml"
    command = [FEAST, "-c", str(FEATURE_REPO), "-f", yaml, "serve", "--port", str(port), "--no-access-log"]
    command += ["--workers", str(workers), "--max-requests", str(max_requests)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UPDATER_")}
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + LONGEST_START
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not listen: {' '.join(command)}")
            time.sleep(0.2)
        yield port, psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(server: psutil.Process) -> float:
    """What the server and its workers have used; one that was replaced is missing."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


async def load(port: int, server: psutil.Process, rate: float, seconds: float, num_users: int) -> dict[str, float]:
    """Send requests at a steady rate; milliseconds from when each was due to its whole answer."""
    random = np.random.default_rng(0)
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(_Connection(port))
    for user in random.integers(num_users, size=WARMING):
        connection = free.get_nowait()
        await connection.read(user_id(int(user)))
        free.put_nowait(connection)
    took: list[float] = []
    failed = 0
    begun, used = time.perf_counter(), cpu_seconds(server)

    async def one(due: float, user: str) -> None:
        nonlocal failed
        connection = await free.get()
        try:
            await connection.read(user)
            took.append(time.perf_counter() - due)
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            failed += 1
            connection.close()
        finally:
            free.put_nowait(connection)

    waiting = []
    for number, user in enumerate(random.integers(num_users, size=int(rate * seconds))):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        waiting.append(asyncio.create_task(one(due, user_id(int(user)))))
    await asyncio.gather(*waiting)
    whole = time.perf_counter() - begun
    milliseconds = {f"p{p}_ms": round(1e3 * float(np.percentile(took, p)), 1) for p in PERCENTILES} if took else {}
    return {
        "requests": len(waiting),
        "failed": failed,
        "answered_per_second": round(len(took) / whole, 1),
        **milliseconds,
        "server_cpu_ms_per_request": round(1e3 * (cpu_seconds(server) - used) / len(waiting), 2),
        "max_ms": round(1e3 * max(took, default=0.0), 1),
    }


class _Connection:
    """A connection that is kept from one request to the next, and opened again when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def read(self, user: str) -> None:
        """Read a user's features. Raises RuntimeError if the answer has no value of the last feature."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = json.dumps({"feature_service": SERVICE, "entities": {"user_id": [user]}}).encode()
        head = f"POST /get-online-features HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in answer.splitlines() if line.startswith("content-length:"))
        content = await reader.readexactly(int(length.partition(":")[2]))
        if " 200 " not in answer.splitlines()[0] or b"NOT_FOUND" in content or b"PRESENT" not in content:
            raise RuntimeError(content[:300].decode())
        if "connection: close" in answer:
            self.close()

    def close(self) -> None:
        """Open another one next time."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


if __name__ == "__main__":
    main()
