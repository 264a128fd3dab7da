"""A server under an address that other hosts reach."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

Watch = Callable[[str, bytes], None]
"""Is given who sends and what, before it is passed on."""


@contextmanager
def relay(address: str, port: int, watch: Watch = lambda sender, data: None, to: str = "127.0.0.1") -> Iterator[int]:
    """Pass connections to `address` on to `port` of `to`, for the length of a `with` block; the port at `address`."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection((to, port)) as server:
                back = Thread(target=_pump, args=(server, self.request), daemon=True)
                back.start()
                _pump(self.request, server, lambda data: watch(self.client_address[0], data))
                back.join()

    class Server(ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

    server = Server((address, 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pump(source: socket.socket, target: socket.socket, watch: Callable[[bytes], None] = lambda data: None) -> None:
    """Pass on until one side has ended."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            watch(data)
            target.sendall(data)
    for side in (source, target):
        with suppress(OSError):
            side.shutdown(socket.SHUT_WR if side is target else socket.SHUT_RD)
