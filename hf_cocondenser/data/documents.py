"""Documents from anything a user has, in one form: `_id`, `title`, `passages`."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, IterableDataset, List, Value, config
from tqdm.auto import tqdm

from hf_cocondenser.data.reading.columns import DocumentColumns
from hf_cocondenser.data.reading.documents import DocumentTables, read_documents
from hf_cocondenser.data.reading.tables import Source
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.hashes import file_hash

FEATURES = Features({"_id": Value("string"), "title": Value("string"), "passages": List(Value("string"))})
_BATCH = 1024
_VERSION = "2"  # of what is read from given bytes


def load_documents(
    source: Source,
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

    A text is cut into passages at its blank lines. Documents without an id are numbered. Columns are found by their
    usual names; which ones were taken is logged.

    Args:
        source: a JSON lines, JSON, Parquet, Arrow, CSV, TSV or plain text file (also .gz), a folder of them, a BEIR
            folder (its documents.jsonl, else its corpus.jsonl), a data set saved to disk or opened already, a list of
            dictionaries, or a Hub data set id.
        text_column, passages_column: the column with a text, or with a list of passages.
        title_column: the column with the title.
        id_column: the column with the id.
        subset: a Hub data set's configuration.
        split: a Hub data set's split.
        text_documents: what one document is in plain text: a `line`, a `paragraph` (blank lines between) or a `file`;
            by default a line, and a file in a folder.
        streaming: read while it is used; nothing is copied to the cache.

    Raises:
        InputError: the source or a column is missing, unreadable or empty, or an id comes twice (when streaming, these
            last come up while it is read).
    """
    if text_column and passages_column:
        raise InputError("Name a text column or a passages column, not both.")
    columns = DocumentColumns(passages_column or text_column, title_column, id_column)
    read = read_documents(source, columns, subset=subset, split=split, text_documents=text_documents)
    if streaming or isinstance(source, IterableDataset):
        return IterableDataset.from_generator(_rows, gen_kwargs={"read": read})
    documents = _kept(read)
    _check_ids(read.name, documents)
    return documents


def as_documents(source: Source) -> Dataset | IterableDataset:
    """What `load_documents` gives for a source; what it gave already stays as it is."""
    if isinstance(source, Dataset | IterableDataset) and (
        source.column_names is None or {*FEATURES} <= {*source.column_names}
    ):
        return source
    return load_documents(source)


def _rows(read: DocumentTables) -> Iterator[dict[str, Any]]:
    for document in read:
        yield {"_id": document.id, "title": document.title, "passages": document.passages}


def _kept(read: DocumentTables) -> Dataset:
    """The documents as an Arrow file in the cache of `datasets`, called by what was read."""
    path = Path(config.HF_DATASETS_CACHE) / "hf_cocondenser" / f"{_fingerprint(read)}.arrow"
    if not path.exists():
        schema = FEATURES.arrow_schema
        rows = iter(tqdm(read, "reading documents", unit=" documents", disable=None))
        partial = path.with_suffix(f".partial-{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
                while batch := list(islice(rows, _BATCH)):
                    columns = zip(
                        *((document.id, document.title, document.passages) for document in batch), strict=True
                    )
                    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            partial.replace(path)
        except OSError as error:
            raise InputError(f"The documents cannot be kept ({error}); set HF_HOME to a folder with room.") from None
        finally:
            partial.unlink(missing_ok=True)
    return Dataset.from_file(str(path))


def _fingerprint(read: DocumentTables) -> str:
    """A name for what is read, by the content of the files; what is not a file is read again every time."""
    found = hashlib.blake2b(_VERSION.encode(), digest_size=16)
    for table, *columns in read.tables:
        if table.path is None:
            return uuid.uuid4().hex
        found.update(repr((table.name, table.unit, table.named, columns, file_hash(table.path))).encode())
    return found.hexdigest()


def _check_ids(name: str | Path, documents: Dataset) -> None:
    ids = documents.data.column("_id")
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(pa.chunked_array(ids.chunks).combine_chunks())
    doubled = counts.filter(pc.greater(counts.field("counts"), 1))
    raise InputError(
        f"{len(doubled):,} document ids come more than once in '{name}', for instance '{doubled[0]['values'].as_py()}'; ids "
        "must be unique."
    )
