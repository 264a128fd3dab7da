"""Locks on a state that processes hold while something must not happen beside them. Whoever dies loses them.

With a ledger in PostgreSQL they are advisory locks of its server, on a connection that is kept open as long. With one
in a SQLite file they are `flock` locks on a file in the state's directory, or beside the ledger if the state is in a
bucket. Between machines these hold where the filesystem passes them on (NFS from version 3 with a lock service, version
4, CephFS, GPFS); it does not on an NFS mounted with `nolock` or `local_lock=flock`, nor on most FUSE filesystems.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from updater.domain.erasure import Erased
from updater.lake import partitions
from updater.runtime.deployment import Context


class Lock(StrEnum):
    """What is locked: the beginning of the file's name."""

    REWRITING = "erasure"
    """Exclusive: files are rewritten or removed. Shared: files are written that an erasure has to find."""
    ONLINE = "online"
    """Exclusive: users leave the online store. Shared: rows that were read from files go there."""
    PROFILES = "profiles"
    """Exclusive: a language model's texts are written."""


class StateLock:
    """One lock of a state.

    Args:
        context: the deployment.
        lock: which one.
    """

    def __init__(self, context: Context, lock: Lock) -> None:
        self._ledger = context.ledger
        self._name = f"{lock}.lock"
        self.lock = lock
        self._path = context.layout.path(self._name)
        if (file := context.ledger.file) and not partitions.is_local(self._path):
            self._path = f"{file}.{self._name}"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until nobody holds the lock, and hold it alone.

        Raises:
            ServiceUnavailableError: the ledger's server does not answer, or went away meanwhile.
        """
        with self._held(shared=False):
            yield

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Wait until nobody holds the lock alone, and hold it together with others who share it.

        Raises:
            ServiceUnavailableError: the ledger's server does not answer, or went away meanwhile.
        """
        with self._held(shared=True):
            yield

    @property
    def failure(self) -> tuple[str, str]:
        """What is wrong where it did not hold, and the way out."""
        if self._ledger.file is None:
            return "locks in the ledger's database do not hold", "connect to it without a pooler of transactions"
        return f"locks on files in {Path(self._path).parent} do not hold between its machines", "mount one with locks"

    @contextmanager
    def _held(self, *, shared: bool) -> Iterator[None]:
        if self._ledger.file is None:
            with self._ledger.lock(int.from_bytes(self._name.encode()[:8]), shared=shared):
                yield
            return
        with Path(partitions.filesystem(self._path)[1]).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield


@contextmanager
def no_erasure_meanwhile(context: Context) -> Iterator[Erased]:
    """Hold off erasures while files are written that they have to find; yields who was erased before.

    Raises:
        ServiceUnavailableError: the ledger's server does not answer, or went away meanwhile.
    """
    with StateLock(context, Lock.REWRITING).shared():
        yield context.ledger.erased()
