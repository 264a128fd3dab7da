"""Every error the user can meet, each one sentence that names the thing and the remedy.

UpdaterError                      exit code 1   anything else
├── ConfigError                   2   a config value or command-line argument is wrong
│   └── NotFoundError             10  what an argument names does not exist: a model version, a scenario, a user
├── NotLandedError                3   a day of the lake has not landed
├── DataRefusedError              4   a partition cannot be trusted as a whole
├── WindowOrderError              5   a window is missing, or older than what is published or kept
├── VerificationError             6   stored values differ from a rebuild, or online from offline, or there is an alert
├── ConcurrentUpdateError         7 * another command changed what this one was working on
│   └── HeadConflictError         7 * another attempt published other values for the same window
├── UnfinishedWorkError           8 * a window, restatement or erasure began and has not ended
├── NothingCommittedError         9   there is no committed window yet
└── ServiceUnavailableError       11* a database or store does not answer

* `retryable`: the same command again may succeed, with nobody's help. A script may repeat on these codes, and Airflow
does. UnfinishedWorkError is among them because whoever began may still be at work; if nobody is, the message says how
to end it.

Errors carry what their sentence is about as attributes; what is unknown is None.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any


class UpdaterError(Exception):
    """Base of all errors that `updater` raises on purpose."""

    exit_code = 1
    retryable = True
    """Whether the same command again may succeed. Of an error that is of no known kind, it may."""

    # Attributes are set here and not in a constructor of each class, so that an error keeps them when it is pickled, as
    # a worker process does that hands it to its parent.
    def __init__(self, message: str, **attributes: Any) -> None:
        """An error with a sentence for people and, for programs, attributes that its class declares."""
        super().__init__(message)
        for name, value in attributes.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}.")
            setattr(self, name, value)


class ConfigError(UpdaterError, ValueError):
    """A config value or an argument is missing, unknown or out of range."""

    exit_code = 2
    retryable = False


class NotFoundError(ConfigError):
    """What an argument names does not exist."""

    exit_code = 10
    kind: str | None = None
    """What was looked for: `model version`, `scenario` or `user`."""
    name: str | None = None
    """Under which name or number."""


class NotLandedError(UpdaterError, FileNotFoundError):
    """A day of a modality has no `_SUCCESS` in the lake."""

    exit_code = 3
    retryable = False
    modality: str | None = None
    ds: date | None = None
    """The landing day that is missing."""

    # FileNotFoundError would otherwise format its arguments as (errno, strerror).
    def __str__(self) -> str:
        return str(self.args[0])


class DataRefusedError(UpdaterError, ValueError):
    """A partition has the wrong schema, or too large a share of it is rejected."""

    exit_code = 4
    retryable = False


class WindowOrderError(UpdaterError, ValueError):
    """A window would leave a gap, or lies before what is published or kept."""

    exit_code = 5
    retryable = False
    ds: date | None = None
    """Landing day of the window that was refused."""
    resume_from: date | None = None
    """First landing day that is missing before it."""
    bucket: int | None = None


class VerificationError(UpdaterError):
    """Stored state differs from a full rebuild, the online store from the offline rows, or there is an alert."""

    exit_code = 6
    retryable = False
    findings: Sequence[str] | None = None
    """A sentence for each thing that is wrong, of which the message has the first."""


class ConcurrentUpdateError(UpdaterError):
    """Another command changed what this one was working on; the same command again works on what there is now."""

    exit_code = 7
    cause: str | None = None
    """What came in between: `erasure`, `promotion`, `restatement`, `maintenance` or `window`."""
    ds: date | None = None
    bucket: int | None = None


class HeadConflictError(ConcurrentUpdateError):
    """A bucket's head holds other values than those that this attempt made, or made them from."""

    published: str | None = None
    """Digest of what the head holds."""


class UnfinishedWorkError(UpdaterError):
    """Other work has to end first. Whoever began it may still be at it."""

    exit_code = 8
    kind: str | None = None
    """`window`, `restatement` or `erasure`."""
    ds: date | None = None
    """Landing day of an unfinished window, the oldest one."""


class NothingCommittedError(UpdaterError):
    """No window is committed yet, so there is nothing to look at."""

    exit_code = 9
    retryable = False


class ServiceUnavailableError(UpdaterError, ConnectionError):
    """A database, cache or store refused the connection."""

    exit_code = 11

    def __str__(self) -> str:
        return str(self.args[0])
