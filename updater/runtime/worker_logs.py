"""What worker processes log reaches the loggers of their parent: its standard error, or the log of its Airflow task.

All workers write to one pipe. A record is one write of at most PIPE_BUF bytes, which the system never mixes with
another's, so no lock is shared that a worker could take with it when it is killed.
"""

import json
import logging
import select
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from threading import Thread

LOGGER = "updater"
JOIN_SECONDS = 5.0
_HEADER_BYTES = 16
"""More than what a connection writes before a message."""
_FIELDS = ("name", "levelno", "levelname", "created", "process", "processName")


class WorkerLogs:
    """The parent's end. Give `sender` and `level` to `forward` in every worker, and close it when they have ended."""

    def __init__(self, processes: BaseContext) -> None:
        self._receiver, self.sender = processes.Pipe(duplex=False)
        self.level = logging.getLogger(LOGGER).getEffectiveLevel()
        self._thread = Thread(target=self._receive, name="worker logs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Pass on what is on the way."""
        self.sender.close()
        self._thread.join(JOIN_SECONDS)

    def _receive(self) -> None:
        while True:
            try:
                record = logging.makeLogRecord(json.loads(self._receiver.recv_bytes()))
            except EOFError:
                self._receiver.close()
                return
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)


class _Sender(logging.Handler):
    def __init__(self, sender: Connection) -> None:
        super().__init__()
        self._sender = sender

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; a text that is too long for one write is cut."""
        try:
            message = self.format(record)
            fields = {name: getattr(record, name) for name in _FIELDS}
            while len(content := json.dumps({**fields, "msg": message}).encode()) > select.PIPE_BUF - _HEADER_BYTES:
                message = f"{message[: len(message) // 2]}…"
            self._sender.send_bytes(content)
        except Exception:
            # As every handler does: work is not worth less because its log is lost.
            self.handleError(record)


def forward(sender: Connection, level: int) -> None:
    """In a worker: log from `level` on, to the parent."""
    logging.getLogger().addHandler(_Sender(sender))
    logging.getLogger(LOGGER).setLevel(level)
