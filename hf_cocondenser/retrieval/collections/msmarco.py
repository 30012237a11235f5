"""MS MARCO's own files: collection.tsv, queries.SPLIT.tsv, qrels.SPLIT.tsv (`dev.small` stands for `dev`).

Also the titled variant of RocketQA: para.txt (`id, -, text`) with para.title.txt (`id, title`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hf_cocondenser.data.reading.delimited import delimited_table
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query
from hf_cocondenser.retrieval.collections.judgements import Judgement, read_qrels


def is_msmarco_folder(folder: Path) -> bool:
    """Whether `folder` holds MS MARCO's collection."""
    return _first(folder, "collection.tsv", "para.txt") is not None


def read_documents(folder: Path) -> Iterator[Document]:
    """Every passage, with its title where there is a file of titles.

    Raises:
        InputError: a line has not the columns it should.
    """
    path = _first(folder, "collection.tsv", "para.txt")
    assert path is not None
    titles_path = _first(folder, "para.title.txt")
    titles = {fields[0]: fields[1] for fields in _rows(titles_path, 2)} if titles_path else {}
    for fields in _rows(path, 2 if path.name.startswith("collection") else 3):
        yield Document(fields[0], titles.get(fields[0], ""), fields[-1])


def read_queries(folder: Path, split: str | None) -> Iterator[Query]:
    """The queries of a split, or of all splits.

    Raises:
        InputError: there is no such file, or a line has not two columns.
    """
    if split is None:
        paths = sorted(folder.glob("queries.*.tsv*"))
    else:
        paths = [path for path in [_split_file(folder, "queries", split)] if path is not None]
    if not paths:
        raise InputError(f"'{folder}' has no queries.{split or '*'}.tsv.")
    seen: set[str] = set()
    for path in paths:
        for identifier, text in _rows(path, 2):
            if split is None and identifier in seen:
                continue  # dev.small is a part of dev
            seen.add(identifier)
            yield Query(identifier, text)


def read_judgements(folder: Path, split: str) -> Iterator[Judgement]:
    """(query id, document id, relevance) of a split.

    Raises:
        InputError: there is no such file, or a line is not a judgement.
    """
    path = _split_file(folder, "qrels", split)
    if path is None:
        raise InputError(f"'{folder}' has no qrels.{split}.tsv.")
    yield from read_qrels(path)


def _split_file(folder: Path, kind: str, split: str) -> Path | None:
    # The small dev set is the one that everybody reports.
    return _first(
        folder, f"{kind}.{split}.small.tsv", f"{kind}.{split}.tsv", f"{split}.query.txt" if kind == "queries" else ""
    )


def _first(folder: Path, *names: str) -> Path | None:
    paths = [folder / f"{name}{suffix}" for name in names if name for suffix in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def _rows(path: Path, width: int) -> Iterator[list[str]]:
    table = delimited_table(path, "\t", wanted="1")  # these files have no header
    for line, row in table.rows():
        fields = list(row.values())
        if len(fields) != width or not fields[0].strip():
            raise InputError(f"Line {line} of '{path}' has not {width} columns with tabs between.")
        yield fields
