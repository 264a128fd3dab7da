"""Every error the user can meet, each one sentence that names the thing and the way out.

UpdaterError                      exit code 1
├── ConfigError                   2  a config value or command-line argument is wrong
├── NotLandedError                3  a day of the lake has not landed
├── DataRefusedError              4  a partition cannot be trusted as a whole
├── WindowOrderError              5  a window is missing, or older than what is published
│   └── HeadConflictError         5  another attempt published other values for the same window
├── VerificationError             6  stored values differ from a rebuild, or online from offline, or a bound is crossed
└── ServiceUnavailableError       1  a database or store does not answer
"""


class UpdaterError(Exception):
    """Base of all errors that `updater` raises on purpose."""

    exit_code = 1


class ConfigError(UpdaterError, ValueError):
    """A config value or an argument is missing, unknown or out of range."""

    exit_code = 2


class NotLandedError(UpdaterError, FileNotFoundError):
    """A day of a modality has no `_SUCCESS` in the lake."""

    exit_code = 3

    # FileNotFoundError would otherwise format its arguments as (errno, strerror).
    def __str__(self) -> str:
        return str(self.args[0])


class DataRefusedError(UpdaterError, ValueError):
    """A partition has the wrong schema, or too large a share of it is rejected."""

    exit_code = 4


class WindowOrderError(UpdaterError, ValueError):
    """A window would leave a gap, or lies before what is already published."""

    exit_code = 5


class HeadConflictError(WindowOrderError):
    """A bucket's head already holds other values for this window."""


class VerificationError(UpdaterError):
    """Stored state differs from a full rebuild, the online store from the offline rows, or a bound is crossed."""

    exit_code = 6


class ServiceUnavailableError(UpdaterError, ConnectionError):
    """A database, cache or store refused the connection."""

    def __str__(self) -> str:
        return str(self.args[0])
