"""Every source as tables: files of each form, folders, saved data sets, data in memory, the Hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from datasets import (
    Dataset,
    DatasetDict,
    IterableDataset,
    IterableDatasetDict,
    load_dataset,
    load_dataset_builder,
    load_from_disk,
)

from hf_cocondenser.data.reading.arrow_rows import arrow_table
from hf_cocondenser.data.reading.delimited import delimited_table
from hf_cocondenser.data.reading.files import ARROW, CSV, JSON, TEXT, TSV, find_files, kind_of, tell_left_out
from hf_cocondenser.data.reading.json_rows import json_table
from hf_cocondenser.data.reading.plain_text import TEXT_DOCUMENTS, text_table
from hf_cocondenser.data.reading.table import SAMPLE, Row, Table
from hf_cocondenser.data.reading.text_files import open_text
from hf_cocondenser.data.reading.topics import is_topics, topic_table
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.loading import one_line, out_of_reach

logger = logging.getLogger(__name__)

Source: TypeAlias = str | Path | Dataset | IterableDataset | Sequence[Mapping[str, Any]]


def open_tables(
    source: Source,
    *,
    subset: str | None = None,
    split: str = "train",
    text_documents: str | None = None,
    wanted: Collection[str] = (),
) -> list[Table]:
    """Open a source of rows: files, a folder, a saved data set, a data set or rows in memory, or a Hub data set id.

    Args:
        source: what to open.
        subset: the Hub data set's configuration.
        split: the Hub data set's split; also of a saved `DatasetDict`.
        text_documents: what one row is in plain text: a `line`, a `paragraph` or a `file`.
        wanted: columns that the user names.

    Raises:
        InputError: it cannot be found or opened.
    """
    if text_documents not in (None, *TEXT_DOCUMENTS):
        raise InputError(f"text_documents is '{text_documents}'; choose one of {', '.join(TEXT_DOCUMENTS)}.")
    if not isinstance(source, str | Path):
        return [memory_table(source)]
    folder = Path(source)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return [memory_table(_saved(folder, split), str(source))]
    files = find_files(source)
    if files is None:
        return [_hub_table(str(source), subset, split)]
    if folder.is_dir():
        tell_left_out(folder, files)
    several = len(files) > 1 or folder.is_dir()
    return [
        open_file(file, text_documents=text_documents, wanted=wanted, folder=folder if several else None)
        for file in files
    ]


def open_file(
    path: Path, *, text_documents: str | None = None, wanted: Collection[str] = (), folder: Path | None = None
) -> Table:
    """Open one file by its suffix, or by how it begins where that says nothing.

    Args:
        path: the file.
        text_documents: what one row is in plain text; by default a line, and a file in a `folder`.
        wanted: columns that the user names.
        folder: the folder whose documents are files.

    Raises:
        InputError: it cannot be opened, or its form cannot be told.
    """
    return replace(_opened(path, text_documents, wanted, folder), path=path)


def _opened(path: Path, text_documents: str | None, wanted: Collection[str], folder: Path | None) -> Table:
    kind = kind_of(path)
    if kind == ARROW:
        return arrow_table(path)
    if text_documents is None and (kind is None or (kind == TEXT and folder is None)):
        kind = _sniffed(path, single=folder is None) or kind
    if kind == JSON:
        return json_table(path)
    if kind in (CSV, TSV):
        return delimited_table(path, "\t" if kind == TSV else None, wanted)
    if kind == _TOPICS:
        return topic_table(path)
    return text_table(path, text_documents or ("line" if folder is None else "file"), folder)


_TOPICS = "topics"
_MARKUP = re.compile(
    r"\s*<(\?xml|!doctype|html|docs?|documents?|dochdr|parameters|quer(y|ies)|corpus|collection|root|add|mediawiki|rss)\b[^<\n]*>",
    re.IGNORECASE,
)


def _sniffed(path: Path, single: bool) -> str | None:
    """The form of a file whose suffix does not say it.

    Raises:
        InputError: some of its lines are JSON objects, and others are not.
    """
    with open_text(path, newline="\n") as file:
        lines = [line for line in islice(file, SAMPLE) if line.strip()]
    head = "".join(lines[:20])
    if is_topics(head):
        return _TOPICS
    if _MARKUP.match(head):
        raise InputError(
            f"'{path}' is written in XML, SGML or HTML, of which TREC topics alone are read; write its rows as JSON lines."
        )
    objects = [line.strip().startswith(("{", "[")) and line.strip().endswith(("}", "]")) for line in lines]
    if lines and all(objects):
        return JSON
    if single and any(line.startswith('{"') and like for line, like in zip(lines, objects, strict=True)):
        raise InputError(f"'{path}' has lines of JSON and others; write every row in one form.")
    if single and lines and min(line.rstrip("\r\n").count("\t") for line in lines):
        return TSV
    return None


def memory_table(rows: Any, name: str = "the data set") -> Table:
    """The rows of a `datasets` data set, or of a list of dictionaries or texts, as a table.

    Raises:
        InputError: it is something else, such as a `DatasetDict`.
    """
    if isinstance(rows, DatasetDict | IterableDatasetDict):
        raise InputError(f"'{name}' has the splits {', '.join(rows)}; give one of them.")
    if isinstance(rows, Mapping | Iterator) or not isinstance(rows, Iterable):
        raise InputError(f"Rows are read from a data set or a list of dictionaries, not from {type(rows).__name__}.")
    return Table(name, partial(_checked, name, rows), "row")


def _checked(name: str, rows: Iterable[Any]) -> Iterator[Row]:
    for number, row in enumerate(_told(name, lambda: rows), start=1):
        row = {"text": row} if isinstance(row, str) else row
        if not isinstance(row, Mapping):
            raise InputError(f"'{name}' row {number} is not a dictionary: {str(row)[:60]!r}.")
        yield number, {str(column): value for column, value in row.items()}


def _hub_table(name: str, subset: str | None, split: str) -> Table:
    if reason := out_of_reach(name, "dataset"):
        raise InputError(f"'{name}' is neither here nor can it be loaded from the Hub: {reason}.")
    return Table(name, partial(_hub_rows, name, subset, split), "row")


def _hub_rows(name: str, subset: str | None, split: str) -> Iterator[Row]:
    yield from enumerate(_told(name, lambda: load_dataset(name, subset, split=split, streaming=True)), start=1)


def size_on_hub(name: str, split: str = "train") -> int | None:
    """The rows of a Hub data set, where it says how many it has."""
    try:
        splits = load_dataset_builder(name).info.splits or {}
    except Exception:  # the network's and the readers' errors come up again when the rows are read
        return None
    return splits[split].num_examples if split in splits else None


def _told(name: str, rows: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """The rows of a data set; whatever its readers and the network raise becomes one sentence."""
    try:
        yield from rows()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"'{name}' cannot be read: {one_line(error)}") from None


def _saved(folder: Path, split: str) -> Dataset:
    try:
        saved = load_from_disk(str(folder))
    except Exception as error:
        raise InputError(f"'{folder}' cannot be read as a saved data set ({one_line(error)}).") from None
    if isinstance(saved, Dataset):
        return saved
    if split not in saved:
        raise InputError(f"The data set '{folder}' has no split '{split}'; there are {', '.join(saved)}.")
    return saved[split]
