"""The columns that a user may name, as flags and from Python."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Columns:
    """Which columns hold what, where their names do not say it; of a file without a header, their numbers from 1.

    Example: `Columns(text_column="abstract", id_column="PMID")`.
    """

    text_column: str | None = field(
        default=None, metadata={"help": "column with the text; found by its name if usual"}
    )
    title_column: str | None = field(
        default=None, metadata={"help": "column with the title; found by its name if usual"}
    )
    id_column: str | None = field(default=None, metadata={"help": "column with the id; found by its name if usual"})
    query_column: str | None = field(
        default=None, metadata={"help": "column with the query, of files of queries; found by its name if usual"}
    )

    def wanted(self) -> list[str]:
        """The columns that are named."""
        return [name for name in vars(self).values() if name is not None]
