"""A table of texts, and which of its columns are numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of as many cells as the head has."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numbers(self) -> frozenset[int]:
        """Columns that hold numbers, of whatever form, and are set to the right. The first one names the row."""
        return frozenset(
            column
            for column in range(1, len(self.head))
            if self.rows
            and all(
                row[column].rstrip(" %s").replace(",", "").replace(".", "").isdigit() or row[column] == "–"
                for row in self.rows
            )
        )
