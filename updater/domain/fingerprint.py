"""Digests that decide between skip and recompute."""

import json
from hashlib import sha256
from typing import Any


def fingerprint(*parts: Any) -> str:
    """SHA-256 (hex) of JSON-like values; equal values give equal digests on every machine."""
    return sha256(json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()
