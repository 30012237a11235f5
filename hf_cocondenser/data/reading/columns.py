"""The columns that a user may name, as flags and from Python."""

from __future__ import annotations

from dataclasses import dataclass

from hf_cocondenser.utils.options import option


@dataclass(frozen=True)
class DocumentColumns:
    """Which columns of documents hold what, where their names do not say it.

    The columns of a file without a header are called by their numbers, from 1.

    Example: `DocumentColumns(text_column="abstract", id_column="PMID")`.
    """

    text_column: str | None = option(None, "column with the text of a document; found by its name if usual")
    title_column: str | None = option(None, "column with its title; found by its name if usual")
    id_column: str | None = option(None, "column with its id; found by its name if usual")

    def wanted(self) -> list[str]:
        """The columns that are named."""
        return [name for name in vars(self).values() if name is not None]


@dataclass(frozen=True)
class Columns(DocumentColumns):
    """Which columns of documents and queries hold what."""

    query_column: str | None = option(None, "column with the query, in files of queries; found by its name if usual")
    query_id_column: str | None = option(None, "column with the query's id; found by its name if usual")
