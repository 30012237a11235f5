"""BEIR folders: corpus.jsonl (or a folder `corpus/` of the user's own files), queries.jsonl, qrels/SPLIT.tsv."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hf_cocondenser.data.reading import documents, queries
from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.data.reading.queries import Query
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document
from hf_cocondenser.retrieval.collections.judgements import Judgement, read_qrels


def is_beir_folder(folder: Path) -> bool:
    """Whether `folder` holds a BEIR corpus."""
    return any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz")) or _has_files(folder)


def corpus_file(folder: Path) -> Path:
    """The file of the documents, or the folder of documents that stands in its place.

    Raises:
        InputError: there is none.
    """
    return folder / "corpus" if _has_files(folder) else _find(folder, "corpus.jsonl")


def _has_files(folder: Path) -> bool:
    """Whether documents are files of their own: `corpus/` beside `queries.jsonl`, and no corpus.jsonl."""
    files = [*folder.glob("corpus.jsonl*"), *folder.glob("queries.jsonl*")]
    return (folder / "corpus").is_dir() and [file.name.startswith("queries") for file in files] == [True]


def queries_file(folder: Path) -> Path:
    """The file of the queries.

    Raises:
        InputError: there is none.
    """
    return _find(folder, "queries.jsonl")


def read_documents(folder: Path, columns: Columns | None = None) -> Iterator[Document]:
    """Every document of corpus.jsonl[.gz] or corpus/.

    Raises:
        InputError: see `hf_cocondenser.data.reading`; or a document has no id.
    """
    for document in documents.read_documents(corpus_file(folder), columns, require_ids=True):
        yield Document(document.id, document.title, document.text)


def read_queries(folder: Path, columns: Columns | None = None) -> Iterator[Query]:
    """Every query of queries.jsonl[.gz]; `metadata.answers` (a list of strings) become the query's answers.

    Raises:
        InputError: see `hf_cocondenser.data.reading`; or a query has no id.
    """
    yield from queries.read_queries(queries_file(folder), columns, require_ids=True)


def read_judgements(folder: Path, split: str) -> Iterator[Judgement]:
    """(query id, document id, relevance) of qrels/SPLIT, as a .tsv or another file that `read_qrels` takes.

    Raises:
        InputError: there is no such split (the sentence names those there are), or a line is no judgement.
    """
    files = [file for file in sorted((folder / "qrels").glob("[!.]*")) if file.is_file()]
    found = [file for file in files if split_name(file) == split]
    if len(found) > 1:
        raise InputError(f"'{folder}' has several qrels for '{split}': {', '.join(file.name for file in found)}.")
    if not found:
        there = f"there are {', '.join(map(split_name, files))}" if files else "the folder has no qrels/SPLIT.tsv"
        raise InputError(f"'{folder}' has no judgements for the split '{split}'; {there}.")
    yield from read_qrels(found[0])


def split_name(file: Path) -> str:
    """A file's name without its suffix, of .tsv.gz without both."""
    return Path(file.name.removesuffix(".gz")).stem


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"'{folder}' has no {name}; a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.")
