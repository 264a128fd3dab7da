"""Locks on a state that processes hold while something must not happen beside them.

They are `flock` locks on a file below `paths.state`: the operating system takes them from a process that dies. Between
machines they hold where the filesystem passes them on (NFS from version 3 with a lock service, version 4, CephFS,
GPFS); it does not on an NFS mounted with `nolock` or `local_lock=flock`, nor on most FUSE filesystems.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from updater.errors import ConfigError
from updater.lake import partitions


class StateLock:
    """One lock of a state.

    Args:
        path: the file that is locked: `StateLayout.rewriting_lock` or `StateLayout.online_lock`.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until nobody holds the lock, and hold it alone. Raises ConfigError if the state is not on a disk."""
        if not partitions.is_local(self._path):
            raise ConfigError(
                f"{self._path} cannot be locked, because it lies on no disk: to erase users and to maintain the state, "
                "paths.state has to be a directory; docs/operations.md says what works in a bucket."
            )
        with self._held(fcntl.LOCK_EX):
            yield

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Wait until nobody holds the lock alone, and hold it together with others who share it."""
        # Who cannot hold it alone needs not be waited for.
        if not partitions.is_local(self._path):
            yield
            return
        with self._held(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _held(self, how: int) -> Iterator[None]:
        with Path(partitions.filesystem(self._path)[1]).open("w") as file:
            fcntl.flock(file, how)
            yield
