"""Documents of any source: id, title, and a text or passages."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hf_cocondenser.data.reading.columns import DocumentColumns
from hf_cocondenser.data.reading.names import (
    CONTENTS,
    TITLES,
    choose_id,
    columns_of,
    first_usable,
    known_columns,
    log_choice,
    looks_like_ids,
    named_column,
)
from hf_cocondenser.data.reading.table import Table
from hf_cocondenser.data.reading.tables import Source, open_tables
from hf_cocondenser.data.reading.values import Number, identifier_of, is_prose, texts_of
from hf_cocondenser.errors import InputError

logger = logging.getLogger(__name__)

_BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class SourceDocument:
    """A document as its source has it.

    Attributes:
        id: its id, or its number from 0 where the source has no ids.
        title: its title, or nothing.
        parts: its text as one part, or its list of passages.
        listed: whether the source has a list of passages.
        place: where it stands, for messages.
    """

    id: str
    title: str
    parts: list[str]
    listed: bool
    place: str

    @property
    def text(self) -> str:
        """The whole text; passages are joined by blank lines."""
        return "\n\n".join(part for part in self.parts if part.strip()) if self.listed else "".join(self.parts)

    @property
    def passages(self) -> list[str]:
        """The list of passages, or the text cut at its blank lines."""
        if self.listed or not self.parts or "\n" not in self.parts[0]:
            return self.parts
        return _BLANK_LINES.split(self.parts[0].replace("\r\n", "\n"))


@dataclass(frozen=True)
class DocumentTables:
    """The tables of a source whose columns are chosen; iterating reads its documents from the first one.

    Attributes:
        name: what to call the source.
        tables: its tables with their columns of text, title and id.
    """

    name: str
    tables: list[tuple[Table, str, str | None, str | None]]

    def __iter__(self) -> Iterator[SourceDocument]:
        """Read the documents, one after the other.

        Raises:
            InputError: a row cannot be read, or no document has a text.
        """
        number = filled = 0
        for table, content, title, id in self.tables:
            for line, row in table.rows():
                place = table.place(line)
                value = row.get(content)
                parts = texts_of(value, place, content)
                head = " ".join(texts_of(row.get(title), place, title)) if title else ""
                name = str(number) if id is None else identifier_of(row.get(id), place, id)
                number += 1
                filled += bool(head.strip() or any(part.strip() for part in parts))
                yield SourceDocument(name, head, parts, isinstance(value, list | tuple), place)
        if not filled:
            raise InputError(f"None of the {number:,} documents of '{self.name}' has a text.")
        if filled < number:
            logger.warning("%s: %d of %d documents have no text.", self.name, number - filled, number)


def read_documents(
    source: Source,
    columns: DocumentColumns | None = None,
    *,
    subset: str | None = None,
    split: str = "train",
    text_documents: str | None = None,
    require_ids: bool = False,
) -> DocumentTables:
    """Open a source of documents and choose its columns; what is returned reads the documents whenever it is iterated.

    Args:
        source: see `open_tables`.
        columns: those that the user names.
        subset, split, text_documents: see `open_tables`.
        require_ids: refuse a source without ids, instead of numbering its documents.

    Raises:
        InputError: the source cannot be read, or its columns cannot be told.
    """
    columns = columns or DocumentColumns()
    tables = open_tables(source, subset=subset, split=split, text_documents=text_documents, wanted=columns.wanted())
    chosen: list[tuple[Table, str, str | None, str | None]] = []
    for table in tables:
        sample = table.sample()
        content, title, id = _choose(table, sample, columns)
        if not chosen or chosen[-1][1:] != (content, title, id):  # a folder may hold thousands of files of one kind
            log_choice(table, sample[0], {"text": content, "title": title, "id": id}, columns_of(sample))
        if id is None and require_ids:
            raise InputError(
                f"'{table.name}' has no column of ids, only {', '.join(sample[0])}; name it (--id-column)."
            )
        if chosen and (id is None) != (chosen[0][3] is None):
            with_ids, without = (table, chosen[0][0]) if id is not None else (chosen[0][0], table)
            raise InputError(
                f"'{with_ids.name}' has ids and '{without.name}' has none; give the documents of all files ids, or of none."
            )
        chosen.append((table, content, title, id))
    return DocumentTables(tables[0].name if len(tables) == 1 else str(source), chosen)


def _choose(
    table: Table, sample: list[dict[str, Any]], columns: DocumentColumns
) -> tuple[str, str | None, str | None]:
    """The columns of text, title and id."""
    there = columns_of(sample)
    if columns.text_column:
        content: str | None = named_column(table, there, columns.text_column, "--text-column")
    elif table.named:
        content = first_usable(known_columns(there, CONTENTS), sample, is_prose)
    else:
        content = _unnamed_content(table, sample, there)
    if content is None:
        raise InputError(
            f"'{table.name}' has none of the columns {', '.join(CONTENTS[:8])}...; there are {', '.join(there)}: name the one "
            "with the text (--text-column)."
        )
    values = [row[content] for row in sample if row.get(content) is not None]
    if values and not any(
        isinstance(value, str | bytes | list | tuple) and not isinstance(value, Number) for value in values
    ):
        raise InputError(f"The column '{content}' of '{table.name}' holds {str(values[0])[:60]!r} instead of text.")
    title = None
    if columns.title_column:
        title = named_column(table, there, columns.title_column, "--title-column")
    elif table.named:
        title = next((name for name in known_columns(there, TITLES) if name != content), None)
    id = choose_id(table, sample, there, columns.id_column, content, title)
    return content, title, id


def _unnamed_content(table: Table, sample: list[dict[str, Any]], there: list[str]) -> str:
    """The text of a file without a header: its only column, or the second behind ids."""
    if len(there) == 1:
        return there[0]
    if len(there) == 2 and looks_like_ids(sample, "1"):
        return "2"
    raise InputError(
        f"'{table.name}' has no header, and which of its {len(there)} columns holds the text cannot be told; name it by its "
        "number (--text-column 2 --id-column 1)."
    )
