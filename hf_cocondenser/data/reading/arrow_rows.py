"""Parquet and Arrow files, batch by batch; their values become text by `text_of`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hf_cocondenser.data.reading.table import Row, Table
from hf_cocondenser.errors import InputError

_BATCH = 1024


def arrow_table(path: Path) -> Table:
    """The rows of a Parquet file, or of an Arrow or Feather one."""
    return Table(str(path), partial(_rows, path), "row")


def _rows(path: Path) -> Iterator[Row]:
    try:
        batches = _parquet(path) if path.suffix.lower() == ".parquet" else _arrow(path)
        read = 0
        for batch in batches:
            if len(set(batch.schema.names)) != batch.num_columns:
                raise InputError(f"'{path}' has two columns of one name; rename one of them.")
            yield from enumerate(batch.to_pylist(), start=read + 1)
            read += batch.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        kind = path.suffix.lower().lstrip(".")
        raise InputError(f"'{path}' cannot be read as {kind} ({' '.join(str(error).split())[:200]}).") from None


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(_BATCH)


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            yield from pa.ipc.open_stream(source)
        else:
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
