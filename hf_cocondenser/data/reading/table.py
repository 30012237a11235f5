"""What every form of file becomes: a table of rows, each with the line that it stands in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError

Row = tuple[int, dict[str, Any]]  # line (or number) and column -> value

SAMPLE = 100  # rows looked at before a column is chosen


@dataclass(frozen=True)
class Table:
    """The rows of one file or data set.

    Attributes:
        name: what to call it in messages.
        rows: gives the rows from the first one; called once for every reading.
        unit: what the numbers of its rows count.
        named: whether its columns have names; those of a file without a header are "1", "2", ...
        path: its file, if it is one.
    """

    name: str
    rows: Callable[[], Iterator[Row]]
    unit: str = "line"
    named: bool = True
    path: Path | None = None

    def place(self, number: int) -> str:
        """Say where a row is: `'corpus.jsonl' line 7`."""
        return f"'{self.name}' {self.unit} {number}"

    def sample(self) -> list[dict[str, Any]]:
        """Return the first rows.

        Raises:
            InputError: there are none.
        """
        first = [row for _, row in islice(self.rows(), SAMPLE)]
        if not any(first):
            raise InputError(f"'{self.name}' is empty.")
        return first
