"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

Table = list[list[str]]
"""Rows of cells; the first row is the head."""


def markdown_table(table: Sequence[Sequence[str]]) -> str:
    r"""Write a table in Markdown, its columns aligned.

    Args:
        table: rows of cells, the head first. A bar in a cell is escaped, a line end becomes a blank.

    Example:
        >>> print(markdown_table([["System", "nDCG@10"], ["BM25", "0.6901"]]))
        | System | nDCG@10 |
        |--------|---------|
        | BM25   | 0.6901  |
    """
    rows = [[" ".join(cell.replace("|", r"\|").splitlines()) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def with_interval(mean: float, interval: Sequence[float], *, sign: str = "", digits: int = 4) -> str:
    """A mean and its interval in one cell.

    Args:
        mean: written with `digits` digits.
        interval: its low and high ends, written with three digits.
        sign: `+` for a difference, whose sign is always written.

    Example:
        >>> with_interval(0.0123, (-0.01, 0.03), sign="+")
        '+0.0123 [-0.010, +0.030]'
    """
    low, high = interval
    return f"{mean:{sign}.{digits}f} [{low:{sign}.3f}, {high:{sign}.3f}]"
