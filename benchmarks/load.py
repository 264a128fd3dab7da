"""Requests that arrive at a steady rate, whether or not the ones before were answered, and how long each one took."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil

CONNECTIONS = 32
WARMING = 100
"""Requests before those that are measured: each worker opens the store at its first one."""
LONGEST_START = 120
PERCENTILES = (50, 90, 99)


@contextmanager
def listening(command: Sequence[str], port: int, environ: Mapping[str, str]) -> Iterator[psutil.Process]:
    """A server, once it listens on a port of loopback; it and its workers are stopped afterwards."""
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + LONGEST_START
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not listen: {' '.join(command)}")
            time.sleep(0.2)
        yield psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(server: psutil.Process) -> float:
    """What the server and its workers have used; one that was replaced is missing."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


async def load(
    port: int, server: psutil.Process, rate: float, bodies: Sequence[Any], path: str, is_answer: Callable[[bytes], bool]
) -> dict[str, float]:
    """Send requests at a steady rate; milliseconds from when each was due to its whole answer.

    Args:
        port: where the server listens.
        server: its process.
        rate: requests a second.
        bodies: of the requests, the first `WARMING` of which are not measured; sent as JSON.
        path: where they are sent.
        is_answer: whether the body of an answer with status 200 is what was asked for.
    """
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(_Connection(port, path, is_answer))
    for body in bodies[:WARMING]:
        connection = free.get_nowait()
        await connection.ask(body)
        free.put_nowait(connection)
    took: list[float] = []
    failed = 0
    begun, used = time.perf_counter(), cpu_seconds(server)

    async def one(due: float, body: Any) -> None:
        nonlocal failed
        connection = await free.get()
        try:
            await connection.ask(body)
            took.append(time.perf_counter() - due)
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            failed += 1
            connection.close()
        finally:
            free.put_nowait(connection)

    waiting = []
    for number, body in enumerate(bodies[WARMING:]):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        waiting.append(asyncio.create_task(one(due, body)))
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
        "cores": os.cpu_count() or 0,
        "load_average": round(os.getloadavg()[0], 1),
    }


class _Connection:
    """A connection that is kept from one request to the next, and opened again when it was closed."""

    def __init__(self, port: int, path: str, is_answer: Callable[[bytes], bool]) -> None:
        self._port, self._path, self._is_answer = port, path, is_answer
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, asked: Any) -> None:
        """Send a request and read its answer. Raises RuntimeError if that is none."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = json.dumps(asked).encode()
        head = f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in answer.splitlines() if line.startswith("content-length:"))
        content = await reader.readexactly(int(length.partition(":")[2]))
        if " 200 " not in answer.splitlines()[0] or not self._is_answer(content):
            raise RuntimeError(content[:300].decode())
        if "connection: close" in answer:
            self.close()

    def close(self) -> None:
        """Open another one next time."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None
