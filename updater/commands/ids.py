"""Files of users' ids as people make them: with spreadsheets, editors, queries and pipes."""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from typing import BinaryIO

from updater.errors import ConfigError

# UTF-32's mark begins with that of UTF-16.
MARKS = {
    BOM_UTF32_LE: "utf-32-le",
    BOM_UTF32_BE: "utf-32-be",
    BOM_UTF8: "utf-8",
    BOM_UTF16_LE: "utf-16-le",
    BOM_UTF16_BE: "utf-16-be",
}
LINE_END = re.compile(r"\r\n|\n|\r")
MARK = "\ufeff"
"""A byte order mark, which files that were put together have in their middle too."""


def read_ids(file: BinaryIO) -> list[str]:
    """The ids of a file, one per line, each once; blanks around them and empty lines are left out.

    The text is UTF-8, or what its byte order mark says. Nothing is guessed: another id is another user.

    Raises:
        ConfigError: the file cannot be read, or is no such text.
    """
    name = getattr(file, "name", "the input")
    try:
        content = file.read()
    except OSError as error:
        raise ConfigError(
            f"{name} cannot be read ({error.strerror or error}); give a file with one id per line."
        ) from None
    mark = next((mark for mark in MARKS if content.startswith(mark)), b"")
    try:
        text = content[len(mark) :].decode(MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        line = 1 + len(LINE_END.findall(content[: error.start].decode("latin-1")))
        what = f"is not {error.encoding.upper()}" + ("" if mark else f" in line {line}")
        raise ConfigError(f"{name} {what}; save it as text in UTF-8, with one id per line.") from None
    if "\0" in text:
        raise ConfigError(f"{name} contains zero bytes; save it as text in UTF-8, with one id per line.")
    lines = (line.replace(MARK, " ").strip() if MARK in line else line.strip() for line in LINE_END.split(text))
    return list(dict.fromkeys(filter(None, lines)))
