"""Queries of any file: id, text, and answers where it has them."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.data.reading.names import (
    ANSWERS,
    QUERIES,
    QUERY_IDS,
    choose_id,
    columns_of,
    first_usable,
    known_columns,
    log_choice,
    looks_like_ids,
    named_column,
)
from hf_cocondenser.data.reading.table import Table
from hf_cocondenser.data.reading.tables import Source, memory_table, open_file
from hf_cocondenser.data.reading.values import identifier_of, is_prose, texts_of
from hf_cocondenser.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Query:
    """A query as its source has it.

    Attributes:
        id: its id, or its number from 1 where the source has no ids.
        text: its text.
        answers: strings that a passage must hold (question answering).
        place: where it stands, for messages.
    """

    id: str
    text: str
    answers: tuple[str, ...] = ()
    place: str = field(default="", compare=False)


def read_queries(source: Source, columns: Columns | None = None, *, require_ids: bool = False) -> Iterator[Query]:
    """Read queries: JSON lines or arrays, CSV, TSV, Parquet, TREC topics, or one query a line.

    Args:
        source: a file (also .gz), a data set, or rows in memory.
        columns: those that the user names.
        require_ids: refuse a source without ids, instead of numbering its queries.

    Raises:
        InputError: the source cannot be read, its columns cannot be told, or no query has a text.
    """
    columns = columns or Columns()
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            reason = "is a folder; name the file of queries" if path.is_dir() else "does not exist"
            raise InputError(f"The query file '{path}' {reason}.")
        if not path.stat().st_size:
            raise InputError(f"The query file '{path}' is empty.")
        table = open_file(path, wanted=columns.wanted())
    else:
        table = memory_table(source, "the queries")
    sample = table.sample()
    there = columns_of(sample)
    text = _choose_text(table, sample, there, columns.query_column)
    id = choose_id(table, sample, there, columns.query_id_column, text, None, QUERY_IDS, "--query-id-column")
    if id is None and require_ids:
        raise InputError(f"'{table.name}' has no column of ids, only {', '.join(there)}; name it (--query-id-column).")
    answers = next(iter(known_columns(there, ANSWERS)), None if table.named or text != "1" else "2")
    log_choice(table, sample[0], {"query": text, "id": id}, there)
    number = filled = 0
    for number, (line, row) in enumerate(table.rows(), start=1):
        place = table.place(line)
        name = str(number) if id is None else identifier_of(row.get(id), place, id)
        query = " ".join(texts_of(row.get(text), place, text)).strip()
        filled += bool(query)
        yield Query(name, query, _answers(row, answers, place), place)
    if not filled:
        raise InputError(f"No query of '{table.name}' has a text.")
    if filled < number:
        logger.warning("%s: %d of %d queries have no text.", table.name, number - filled, number)


def _choose_text(table: Table, sample: list[dict[str, Any]], there: list[str], wanted: str | None) -> str:
    if wanted:
        return named_column(table, there, wanted, "--query-column")
    if table.named:
        found = first_usable(known_columns(there, QUERIES), sample, is_prose)
    elif len(there) == 1:
        found = there[0]
    elif len(there) == 2 and looks_like_ids(sample, "1"):
        found = "2"
    elif len(there) == 2 and all(listed(row["2"]) for row in sample):
        found = "1"
    else:
        found = None
    if found is None:
        raise InputError(
            f"Which column of '{table.name}' holds the queries cannot be told; there are {', '.join(there)}: name it "
            "(--query-column)."
        )
    return found


def listed(value: Any) -> list[Any] | None:
    """The list that a cell holds, as JSON or as Python writes it."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.strip().startswith("[") and value.strip().endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(value)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return found if isinstance(found, list) else None
    return None


def _answers(row: dict[str, Any], column: str | None, place: str) -> tuple[str, ...]:
    metadata = row.get("metadata")
    found = metadata.get("answers") if isinstance(metadata, dict) else None
    found = found or (row.get(column) if column else None)
    if isinstance(found, dict):  # SQuAD's
        found = found.get("text")
    return tuple(text for text in texts_of(listed(found) or found, place, column or "answers") if text.strip())
