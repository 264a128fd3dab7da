"""A proxy before an S3 server that counts requests and, for those that a test picks, does what networks do."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["503", "cut", "lost"]
"""503: refused for a moment, nothing done. cut: the connection breaks within the body. lost: it is done, and the
connection breaks before the answer.
"""
_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Proxy:
    """Faults and counts of a running proxy."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: Counter[str] = Counter()
        """By method; a listing is LIST, a server-side copy COPY."""
        self.faults: Counter[Fault] = Counter()
        """What has been done so far."""
        self._planned: list[tuple[str, Fault, int]] = []
        self._every: Callable[[int], Fault | None] | None = None
        self._lock = Lock()

    def plan(self, kind: str, fault: Fault, times: int = 1) -> None:
        """Do `fault` to the next requests of a kind."""
        self._planned.append((kind, fault, times))

    def plan_every(self, choose: Callable[[int], Fault | None] | None) -> None:
        """Choose a fault by the number of the request, counted from 1; None to stop that."""
        self._every = choose

    def next_fault(self, kind: str, has_body: bool) -> Fault | None:
        """What to do with a request that just came."""
        with self._lock:
            self.requests[kind] += 1
            fault = None
            for position, (wanted, planned, times) in enumerate(self._planned):
                if wanted == kind:
                    fault = planned
                    self._planned[position : position + 1] = [(wanted, planned, times - 1)] if times > 1 else []
                    break
            if fault is None and self._every is not None:
                fault = self._every(self.requests.total())
            if fault == "cut" and not has_body:
                fault = "503"
            if fault:
                self.faults[fault] += 1
            return fault


@contextmanager
def proxy_of(port: int) -> Iterator[Proxy]:
    """A proxy of the server on `port` of loopback, for the length of a `with` block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            fault = proxy.next_fault(_kind(self), bool(length))
            if fault == "cut":
                self.rfile.read(length // 2)
                self.close_connection = True
                return
            body = self.rfile.read(length)
            if fault == "503":
                content = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
                self.send_response(503)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                return
            upstream = HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in _HOP:
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                found = upstream.getresponse()
                content = found.read()
            except OSError:
                self.close_connection = True
                return
            finally:
                upstream.close()
            if fault == "lost":
                self.close_connection = True
                return
            self.send_response_only(found.status, found.reason)
            for name, value in found.getheaders():
                if name.lower() not in _HOP and name.lower() != "content-length":
                    self.send_header(name, value)
            length_sent = found.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length_sent or "0")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(server.server_address[1])
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _kind(request: BaseHTTPRequestHandler) -> str:
    query = urlsplit(request.path).query
    if request.command == "GET" and ("list-type" in query or "versions" in query):
        return "LIST"
    return "COPY" if "x-amz-copy-source" in request.headers else request.command
