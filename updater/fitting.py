"""Tables that are wider than the terminal: which columns go together. Pure."""

from collections.abc import Sequence

from rich.text import Text

MOST_UNBROKEN = 24
"""Characters of a cell that are never broken; longer ones, which are texts, may take several lines."""


def fitting(columns: Sequence[str], cells: Sequence[Sequence[Text]], width: int) -> list[list[int]]:
    """The positions of a table's columns, in parts that fit into `width` characters; each begins with the first."""
    least = [least_width(name, [row[position] for row in cells]) for position, name in enumerate(columns)]
    parts = [[0]]
    for position in range(1, len(columns)):
        # A column has a blank on either side and a line after it; the table has a line before it.
        if len(parts[-1]) > 1 and 1 + sum(least[each] + 3 for each in (*parts[-1], position)) > width:
            parts.append([0])
        parts[-1].append(position)
    return parts


def least_width(name: str, cells: Sequence[Text]) -> int:
    """What a column cannot do without: the words of its name, and its cells up to MOST_UNBROKEN characters."""
    return max([*map(len, name.split()), *(min(cell.cell_len, MOST_UNBROKEN) for cell in cells)], default=1)
