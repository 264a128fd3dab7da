"""A value of the lake as quoted data in a sentence, and how long a text is.

What people type, and what others write about them, may hold instructions, markup or a megabyte. A profile shows of it a
short string on one line between quotes that the value itself cannot close.
"""

import re
import unicodedata

MAX_CHARACTERS = 40
"""Longest value; a longer one is cut and ends with an ellipsis."""
READ_CHARACTERS = 1000
"""Of a longer value only the beginning is looked at."""
BYTES_PER_TOKEN = 4
_QUOTES = dict.fromkeys(map(ord, '"`´“”„‟«»‘’‚‛‹›″＂'), "'")
# Controls, invisible format characters, surrogates, private and unassigned ones, separators of lines and paragraphs.
_REMOVED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(value: str) -> str:
    """`value` as it is shown: quotes are apostrophes, runs of blanks and control characters are one blank, at most
    `MAX_CHARACTERS`; empty if nothing is left.
    """
    shown = value[:READ_CHARACTERS].translate(_QUOTES)
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join(" " if unicodedata.category(char) in _REMOVED else char for char in shown)
    shown = " ".join(shown.split())
    return shown if len(shown) <= MAX_CHARACTERS else f"{shown[: MAX_CHARACTERS - 1].rstrip()}…"


def quoted(value: str) -> str:
    """A cleaned value between quotes."""
    return f'"{value}"'


def num_tokens(text: str) -> int:
    """Length of a text, by a rule that needs no tokenizer: four bytes of UTF-8, begun ones included, are a token."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def shows_id(text: str, user_id: str) -> bool:
    """True if `text` happens to contain the user's id as a word; such text is not shown to anybody."""
    return re.search(rf"(?<!\w){re.escape(user_id)}(?!\w)", text, re.IGNORECASE) is not None
