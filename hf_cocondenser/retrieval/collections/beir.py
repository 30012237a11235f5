"""BEIR folders: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hf_cocondenser.data.reading import documents, queries
from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.data.reading.queries import Query
from hf_cocondenser.data.reading.text_files import open_text
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document


def is_beir_folder(folder: Path) -> bool:
    """Whether `folder` holds a BEIR corpus."""
    return any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def corpus_file(folder: Path) -> Path:
    """The file of the documents.

    Raises:
        InputError: there is none.
    """
    return _find(folder, "corpus.jsonl")


def queries_file(folder: Path) -> Path:
    """The file of the queries.

    Raises:
        InputError: there is none.
    """
    return _find(folder, "queries.jsonl")


def read_documents(folder: Path, columns: Columns | None = None) -> Iterator[Document]:
    """Every document of corpus.jsonl[.gz].

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


def read_judgements(folder: Path, split: str) -> Iterator[tuple[str, str, int]]:
    """(query id, document id, relevance) of qrels/SPLIT.tsv; LF and CRLF line ends, with or without a header.

    Raises:
        InputError: there is no such split (the sentence names those there are), or a line is not three columns.
    """
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        splits = sorted(file.stem for file in (folder / "qrels").glob("*.tsv"))
        there = f"there are {', '.join(splits)}" if splits else "the folder has no qrels/*.tsv"
        raise InputError(f"'{folder}' has no judgements for the split '{split}'; {there}.")
    yield from read_qrels_file(path)


def read_qrels_file(path: Path) -> Iterator[tuple[str, str, int]]:
    """(query id, document id, relevance) of a file with three columns (BEIR) or TREC's four.

    Raises:
        InputError: a line has other columns, or its relevance is not a whole number.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
            if len(fields) == 4:
                del fields[1]
            try:
                query, document, relevance = fields
                yield query.strip(), document.strip(), int(relevance)
            except ValueError:
                if number == 1 and len(fields) == 3 and not fields[2].strip().lstrip("-").isdigit():
                    continue  # the header
                raise InputError(
                    f"Line {number} of '{path}' is not 'query-id<TAB>corpus-id<TAB>score' with a whole-number score."
                ) from None


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"'{folder}' has no {name}; a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.")
