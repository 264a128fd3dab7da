"""Names of temporary files, beside the files that they become."""

import re
from uuid import uuid4

TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.tmp")
"""What a writer that was killed leaves: a file, or the directory of a model."""


def temporary_name(name: str) -> str:
    """A new name for what is to become `name`; no other writer has it."""
    return f".{name}.{uuid4().hex}.tmp"
