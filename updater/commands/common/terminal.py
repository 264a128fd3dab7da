"""Output that never fails because of a missing character: ASCII and Latin-1 terminals and logs get an escape."""

import sys
from io import TextIOWrapper


def escape_unprintable() -> None:
    r"""Have standard output and error write what their encoding lacks as `\xe9` or `\u2026`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
