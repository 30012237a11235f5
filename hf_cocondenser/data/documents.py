"""Documents from anything a user has, in one form: `_id`, `title`, `passages`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, IterableDataset, List, Value

from hf_cocondenser.data.sources import describe_failure, open_source
from hf_cocondenser.data.surrogates import without_lone_surrogates
from hf_cocondenser.errors import InputError

FEATURES = Features({"_id": Value("string"), "title": Value("string"), "passages": List(Value("string"))})
_CONTENT_NAMES = ("passages", "text", "contents", "content", "body", "document")
_TITLE_NAMES = ("title",)
_ID_NAMES = ("_id", "id", "docid", "doc_id")
_BATCH = 512
_BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class _Columns:
    content: str
    title: str | None
    id: str | None


def load_documents(
    source: str | Path | Dataset | IterableDataset,
    *,
    text_column: str | None = None,
    title_column: str | None = None,
    passages_column: str | None = None,
    id_column: str | None = None,
    subset: str | None = None,
    split: str = "train",
    text_documents: str | None = None,
    streaming: bool = False,
) -> Dataset | IterableDataset:
    """Load documents with the columns `_id` (string), `title` (string) and `passages` (list of strings).

    A text is cut into passages at its blank lines. Documents without an id are numbered.

    Args:
        source: a JSON lines, Parquet, CSV, TSV or plain text file (also .gz), a folder of them, a BEIR folder (its
            documents.jsonl, else its corpus.jsonl), a data set saved to disk or opened already, or a Hub data set id.
        text_column, passages_column: the column with a text, or with a list of passages; by default the first there is
            of passages, text, contents, content, body, document.
        title_column: by default `title` if there is one.
        id_column: by default the first there is of _id, id, docid, doc_id.
        subset: a Hub data set's configuration.
        split: a Hub data set's split.
        text_documents: what one document is in plain text: a `line`, a `paragraph` (blank lines between) or a `file`;
            by default a line, and a file where a folder holds several.
        streaming: read while it is used; nothing is copied to the cache.

    Raises:
        InputError: the source or a column is missing, unreadable or empty, or an id comes twice (when streaming, these
            last come up while it is read).
    """
    if text_column and passages_column:
        raise InputError("Name a text column or a passages column, not both.")
    name = source if isinstance(source, (str, Path)) else "the data set"
    if isinstance(source, (str, Path)):
        raw = open_source(source, subset=subset, split=split, text_documents=text_documents, streaming=streaming)
    else:
        raw = source
    wanted = (passages_column or text_column, title_column, id_column)
    if isinstance(raw, IterableDataset):
        return _stream(raw, name, wanted)
    if not len(raw):
        raise InputError(f"'{name}' is empty.")
    columns = _find_columns(name, raw.column_names, wanted)
    try:
        _check_type(name, columns.content, raw[0][columns.content])
        documents = raw.map(
            _normalise_batch,
            batched=True,
            with_indices=True,
            fn_kwargs={"columns": columns},
            remove_columns=raw.column_names,
            features=FEATURES,
            desc="reading documents",
        )
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        UnicodeDecodeError,
    ) as error:  # rows of several types, bytes of no UTF-8
        raise describe_failure(name, error) from None
    _check_ids(name, documents)
    return documents


def _stream(
    raw: IterableDataset, name: str | Path, wanted: tuple[str | None, str | None, str | None]
) -> IterableDataset:
    try:
        first = next(iter(raw), None)
    except Exception as error:
        raise describe_failure(name, error) from None
    if first is None:
        raise InputError(f"'{name}' is empty.")
    columns = _find_columns(name, list(first), wanted)
    _check_type(name, columns.content, first[columns.content])

    def documents() -> Iterator[dict[str, Any]]:
        read = 0
        batches = iter(raw.iter(batch_size=_BATCH))
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:
                raise describe_failure(name, error) from None
            if batch is None:
                return
            found = _normalise_batch(batch, range(read, read + len(batch[columns.content])), columns)
            read += len(found["_id"])
            for values in zip(*found.values(), strict=True):
                yield dict(zip(found, values, strict=True))

    # Without `features`: checking every row against them would cost more than reading it.
    return IterableDataset.from_generator(documents)


def _find_columns(
    name: str | Path, there: Sequence[str], wanted: tuple[str | None, str | None, str | None]
) -> _Columns:
    for column in wanted:
        if column and column not in there:
            raise InputError(f"'{name}' has no column '{column}'; there are {', '.join(there)}.")
    content, title, id = (
        column or next((known for known in names if known in there), None)
        for column, names in zip(wanted, (_CONTENT_NAMES, _TITLE_NAMES, _ID_NAMES), strict=True)
    )
    if content is None:
        raise InputError(
            f"'{name}' has none of the columns {', '.join(_CONTENT_NAMES)}; there are {', '.join(there)}: name the one with "
            "the text (--text-column)."
        )
    return _Columns(content, title, id)


def _check_type(name: str | Path, column: str, value: Any) -> None:
    parts = value if isinstance(value, list) else [value]
    if not all(part is None or isinstance(part, str) for part in parts):
        raise InputError(f"The column '{column}' of '{name}' holds {type(parts[0]).__name__} values instead of text.")


def _passages(content: Any, column: str) -> list[str]:
    if isinstance(content, str):
        content = without_lone_surrogates(content)
        return _BLANK_LINES.split(content.replace("\r\n", "\n")) if "\n" in content else [content]
    passages = [] if content is None else content
    if not isinstance(passages, list) or not all(part is None or isinstance(part, str) for part in passages):
        raise InputError(
            f"The column '{column}' holds other things than text in some documents, such as {content!r:.80}."
        )
    return [without_lone_surrogates(part) for part in passages if part is not None]


def _normalise_batch(
    batch: Mapping[str, list[Any]], numbers: Sequence[int], columns: _Columns
) -> dict[str, list[Any]]:
    ids = batch[columns.id] if columns.id else [None] * len(numbers)
    titles = batch[columns.title] if columns.title else [None] * len(numbers)
    return {
        "_id": [str(number if id is None else id) for id, number in zip(ids, numbers, strict=True)],
        "title": ["" if title is None else without_lone_surrogates(str(title)) for title in titles],
        "passages": [_passages(content, columns.content) for content in batch[columns.content]],
    }


def _check_ids(name: str | Path, documents: Dataset) -> None:
    ids = documents.data.column("_id")
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids.combine_chunks())
    doubled = counts.filter(pc.greater(counts.field("counts"), 1))
    raise InputError(
        f"{len(doubled):,} document ids come more than once in '{name}', for instance '{doubled[0]['values'].as_py()}'; ids "
        "must be unique."
    )
