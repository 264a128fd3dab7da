"""A process that listens and answers until it is stopped."""

import logging
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from updater.errors import ConfigError
from updater.serving.answering import Answering
from updater.serving.app import application
from updater.settings import Settings

WAITING_CONNECTIONS = 2_048
LONGEST_IDLE = 30
"""Seconds for which a connection is kept when nothing is asked, as `feast serve` does."""
LONGEST_STOP = 30
"""Seconds that requests have to end when the process is asked to stop."""
logger = logging.getLogger(__name__)


def serve(settings: Settings, host: str, port: int, announce: Callable[[str, str], None]) -> None:
    """Listen and answer until the process is interrupted or terminated; what is being answered then is finished.

    Args:
        settings: the config.
        host: name or address to listen on.
        port: 0 for any that is free.
        announce: called with the URL and the name of the model that was loaded, once requests are taken.

    Raises:
        ConfigError: the state is not initialized, `[auth]` is wrong, or nobody can listen there.
        ServiceUnavailableError: ledger or registry do not answer.
    """
    answering = Answering(settings)
    guard = None
    if settings.auth.type == "no_auth":
        logger.warning("[auth] of %s asks nobody who they are: whoever reaches %s may ask", settings.source, host)
    else:
        from updater.store.repository.guard import Guard

        guard = Guard(settings)
    with listening(host, port) as listener:
        model = answering.thread.submit(answering.load).result()
        config = uvicorn.Config(
            application(answering, guard),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=LONGEST_IDLE,
            timeout_graceful_shutdown=LONGEST_STOP,
        )
        shown = f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{listener.getsockname()[1]}", model)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises ConfigError if that address cannot be listened on."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=WAITING_CONNECTIONS)
    except OSError as error:
        raise ConfigError(
            f"{host} port {port} cannot be listened on ({error.strerror}); name another with --host and --port."
        ) from None
