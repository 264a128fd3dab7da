"""A question of the files: its chat, its letter, and its sub-task by the words of the question."""

import json
import re
from dataclasses import dataclass

from updater.errors import DataRefusedError
from updater.fidelity.schema import SUBTASKS
from updater.language_models.causal import LETTERS

WORDINGS = {
    "DF": re.compile(r"次浏览的商品的|从1开始计数"),
    "MF": re.compile(r"长度是多少|商品有多少个"),
    "IP": re.compile(r"下一个可能点击的商品的标题"),
    "AP": re.compile(r"下一个可能点击的商品的(?!标题)"),
    "LI": re.compile(r"(?<!近期)最感兴趣的3个"),
    "SI": re.compile(r"近期最感兴趣的"),
    "IT": re.compile(r"转移路径"),
}
"""What a question of each sub-task says and no other does: two that are found leave it without a sub-task."""


@dataclass(frozen=True)
class Chat:
    """One question."""

    question: str
    """With its options."""
    letter: str
    """Of the right one."""


def read_chat(text: str, path: object) -> Chat:
    """The chat of a row: what the user says, and what the assistant answers.

    Args:
        text: JSON, a list of messages with `role` and `content`.
        path: of the file, for the message.

    Raises:
        DataRefusedError: it is no such chat, or its answer is no single letter.
    """
    try:
        messages = {message["role"]: message["content"] for message in json.loads(text)}
        question, answer = messages["user"], messages["assistant"]
    except (ValueError, KeyError, TypeError):
        raise DataRefusedError(
            f"{path} has a chat that is no list of a user's and an assistant's message: {text[:80]!r}"
        ) from None
    letter = answer[0] if isinstance(answer, list) and answer else answer
    if not isinstance(question, str) or not isinstance(letter, str) or letter.strip() not in [*LETTERS]:
        raise DataRefusedError(f"{path} has a chat whose answer is no letter from A to Z: {str(answer)[:80]!r}")
    return Chat(question, letter.strip())


def subtask_of(question: str) -> str | None:
    """The sub-task whose wording the question has; None if it has none or that of several."""
    found = [name for name in SUBTASKS if WORDINGS[name].search(question)]
    return found[0] if len(found) == 1 else None
