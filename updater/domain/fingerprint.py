"""Digests that decide between skip and recompute."""

import json
from datetime import date
from hashlib import sha256
from typing import Any


def fingerprint(*parts: Any) -> str:
    """SHA-256 (hex) of JSON-like values and dates; equal values give equal digests on every machine.

    Raises:
        TypeError: a part is something else, such as a set, whose text differs from process to process.
    """
    return sha256(json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_text).encode()).hexdigest()


def _text(part: Any) -> str:
    if isinstance(part, date):
        return str(part)
    raise TypeError(f"no fingerprint of a {type(part).__name__}; give it as text, a number, a date or a list.")
