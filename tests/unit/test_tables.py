"""Tables on a terminal of 80 columns: whole numbers and dates, whatever the number of columns."""

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from updater import tables
from updater.fitting import fitting

STEPS = ["detect", "encode", "refresh", "publish", "materialize", "commit"]
COLUMNS = ["ds", "users", "summaries", "texts", "prefixes", "share", "rejected", *STEPS]
ROW = ["2025-05-29", 36, 1_234_567, 0, 36, "9.9%", 0, "3.0", "0.0", "52.6", "0.1", "3.1", "0.2"]


def printed(monkeypatch: pytest.MonkeyPatch, width: int, columns: list[str], row: list[object]) -> list[str]:
    out = StringIO()
    monkeypatch.setattr(tables, "console", lambda: Console(file=out, width=width, soft_wrap=True))
    tables.table("Windows", columns, [row])
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_wider_than_the_terminal_is_printed_in_parts(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    lines = printed(monkeypatch, width, COLUMNS, ROW)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).replace("│", " ").replace("┃", " ").split()
    assert set(COLUMNS) <= set(words)
    assert {"2025-05-29", "1,234,567", "9.9%", "52.6", "3.1"} <= set(words)
    assert "…" not in " ".join(lines)
    assert words.count("ds") == words.count("2025-05-29") > 1, "each part says which row it is"
    assert words.count("Windows") == 1


def test_a_table_that_fits_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum("2025-05-29" in line for line in printed(monkeypatch, 140, COLUMNS, ROW)) == 1


def test_a_long_text_takes_lines_and_not_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "fishing rods, carbon rod of 2.4 m for the sea, by coupon"
    lines = printed(monkeypatch, 60, ["effect", "modality", "text"], ["+0.2409", "view", text])
    assert max(map(len, lines)) <= 60
    assert sum("+0.2409" in line for line in lines) == 1
    assert " ".join(" ".join(line.split("│")[3:4]).strip() for line in lines if "│" in line) == text


def test_names_of_several_words_are_broken_between_them() -> None:
    cells = [[Text("2025-05-29"), Text("36"), Text("2025-05-30 04:00")]]
    assert fitting(["ds", "users computed", "completed at (UTC)"], cells, 50) == [[0, 1, 2]]
    assert fitting(["ds", "users computed", "completed at (UTC)"], cells, 40) == [[0, 1], [0, 2]]


def test_a_column_wider_than_the_terminal_stands_alone() -> None:
    assert fitting(["a", "b"], [[Text("1"), Text("x" * 90)]], 10) == [[0, 1]]
