"""BEIR folders: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from hf_cocondenser.data.surrogates import without_lone_surrogates
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query


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


def read_documents(folder: Path) -> Iterator[Document]:
    """Every line of corpus.jsonl[.gz].

    Raises:
        InputError: a line is not a JSON object with an id.
    """
    path = corpus_file(folder)
    for number, record in _read_jsonl(path):
        yield Document(_identifier(record, path, number), _text(record, "title"), _text(record, "text"))


def read_queries(folder: Path) -> Iterator[Query]:
    """Every line of queries.jsonl[.gz]; `metadata.answers` (a list of strings) become the query's answers.

    Raises:
        InputError: a line is not a JSON object with an id.
    """
    yield from read_queries_file(queries_file(folder))


def read_queries_file(path: Path) -> Iterator[Query]:
    """Every line of a JSON lines file of queries.

    Raises:
        InputError: a line is not a JSON object with an id.
    """
    for number, record in _read_jsonl(path):
        metadata = record.get("metadata")
        answers = metadata.get("answers") if isinstance(metadata, dict) else None
        strings = tuple(str(answer) for answer in answers) if isinstance(answers, list) else ()
        yield Query(_identifier(record, path, number), _text(record, "text"), strings)


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


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a plain or gzipped UTF-8 file for reading; a byte order mark at its head is left out.

    Raises:
        InputError: what is read is not UTF-8, or a gzipped file is damaged or cut short.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            yield file
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"'{path}' cannot be read as UTF-8 text ({error}).") from None


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"'{folder}' has no {name}; a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.")


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"Line {number} of '{path}' is not valid JSON ({error}).") from None
            if not isinstance(record, dict):
                raise InputError(f"Line {number} of '{path}' is not a JSON object.")
            yield number, record


def _identifier(record: dict[str, Any], path: Path, number: int) -> str:
    identifier = record.get("_id", record.get("id"))
    if identifier is None or identifier == "":
        raise InputError(f"Line {number} of '{path}' has no '_id'.")
    return without_lone_surrogates(str(identifier))


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else "" if value is None else str(value)
