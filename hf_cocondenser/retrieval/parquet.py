"""Embeddings as a data set that every other store can read: Parquet with ids, texts and an `embeddings` column."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from hf_cocondenser.retrieval.topk import Matrix
from hf_cocondenser.utils.files import output_folder

_ROWS_OF_A_FILE = 131072
_ROWS_OF_A_GROUP = 4096


def write_embeddings(
    folder: str | Path,
    ids: Sequence[str],
    vectors: Matrix,
    corpus: Mapping[str, str],
    titles: Mapping[str, str] | None = None,
    *,
    about: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    show_progress: bool = False,
) -> None:
    """Write a folder that `datasets.load_dataset(folder)` opens, with the columns `_id`, `title`, `text`, `embeddings`.

    Args:
        folder: new folder.
        ids: document ids in row order.
        vectors: shape (documents, dimension).
        corpus: document id -> text with title.
        titles: document id -> title.
        about: what the vectors are of; kept in the files' metadata.
        overwrite: replace the folder.
        show_progress: show a bar.

    Raises:
        InputError: the folder is not empty and `overwrite` is false.
    """
    titles = titles or {}
    schema = pa.schema(
        [
            ("_id", pa.string()),
            ("title", pa.string()),
            ("text", pa.string()),
            ("embeddings", pa.list_(pa.float32(), vectors.shape[1])),
        ],
        metadata={"hf_cocondenser": json.dumps(dict(about or {}))},
    )
    files = -(-len(ids) // _ROWS_OF_A_FILE)
    with (
        output_folder(folder, overwrite) as target,
        tqdm(total=len(ids), desc="To Parquet", disable=None if show_progress else True) as bar,
    ):
        for number in range(files):
            last = min((number + 1) * _ROWS_OF_A_FILE, len(ids))
            path = target / f"train-{number:05d}-of-{files:05d}.parquet"
            with pq.ParquetWriter(path, schema) as writer:
                for rows in _blocks(number * _ROWS_OF_A_FILE, last):
                    block = np.ascontiguousarray(vectors[rows.start : rows.stop], dtype=np.float32)
                    names = list(ids[rows.start : rows.stop])
                    heads = [titles.get(name, "") for name in names]
                    texts = [corpus[name][len(head) :].lstrip() for name, head in zip(names, heads, strict=True)]
                    lists = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), block.shape[1])
                    writer.write_table(pa.table([names, heads, texts, lists], schema=schema))
                    bar.update(len(names))


def _blocks(start: int, stop: int) -> Iterator[range]:
    for first, last in itertools.pairwise([*range(start, stop, _ROWS_OF_A_GROUP), stop]):
        yield range(first, last)
