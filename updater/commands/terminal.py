"""Output that never fails for want of a letter: terminals and logs in ASCII or Latin-1 get an escape instead."""

import sys
from io import TextIOWrapper


def escape_unprintable() -> None:
    r"""Have standard output and error write what their encoding lacks as `\xe9` or `\u2026`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
