"""The text columns that a modality's template has put into its texts, read out of them again.

Event files keep a text and one category. The coarser names beside it (a department, a brand) are in the text.
"""

import re
from collections.abc import Sequence

from updater.domain.declared.modality import Modality

_GREED = ("", "?")


def parse_column(modality: Modality, column: str, texts: Sequence[str]) -> list[str | None]:
    """What `column` is in each of `texts`; None where it is empty, or where the template can be read in two ways."""
    # If what takes as much as it can agrees with what takes as little as it can, nothing lies between.
    readings = [_pattern(modality, lazy) for lazy in _GREED]
    found: list[str | None] = []
    for text in texts:
        matches = [reading.fullmatch(text) for reading in readings]
        values = {match[column] if match else None for match in matches}
        value = values.pop()
        found.append(value if not values and value else None)
    return found


def _pattern(modality: Modality, lazy: str) -> re.Pattern[str]:
    parts, known = [], set[str]()
    for literal, field, how in modality.template:
        parts.append(re.escape(literal))
        if field is None:
            continue
        if how or field in known:
            parts.append(r"\S*" if how else f"(?P={field})")
        else:
            parts.append(f"(?P<{field}>.*{lazy})")
            known.add(field)
    return re.compile("".join(parts), re.DOTALL)
