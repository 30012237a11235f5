"""Corpora and queries to search without judgements: BEIR folders, and whatever `load_documents` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hf_cocondenser.data.surrogates import without_lone_surrogates
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections import beir
from hf_cocondenser.retrieval.collections.collection import Document, collect_documents


def load_corpus(source: str | Path) -> tuple[dict[str, str], dict[str, str]]:
    """Load documents to search in.

    Args:
        source: a BEIR folder, or anything that `hf_cocondenser.data` reads as documents; a document of several passages
            with text becomes one entry for each of them (`ID#0`, `ID#1`...).

    Returns:
        Document id -> text (title first), and document id -> title.

    Raises:
        InputError: the source cannot be read, is empty, or has one id twice (BEIR) or for different texts.
    """
    folder = Path(source)
    if beir.is_beir_folder(folder):
        corpus, titles, _ = collect_documents(str(source), beir.read_documents(folder), beir.corpus_file(folder))
    else:
        corpus, titles, _ = collect_documents(str(source), _passages(source))
    return corpus, titles


def load_queries(path: str | Path) -> dict[str, str]:
    """Load queries: a BEIR queries.jsonl, lines `id<TAB>text`, or one query a line (numbered from 1).

    Raises:
        InputError: the file is missing or empty, or an id comes twice or is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The query file '{path}' does not exist.")
    queries: dict[str, str] = {}
    for identifier, text in _read_queries(path):
        if identifier in queries:
            raise InputError(f"The query file '{path}' has the id '{identifier}' twice.")
        queries[identifier] = without_lone_surrogates(text)
    if not queries:
        raise InputError(f"The query file '{path}' is empty.")
    return queries


def _read_queries(path: Path) -> Iterator[tuple[str, str]]:
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        for query in beir.read_queries_file(path):
            yield query.id, query.text
        return
    with beir.open_text(path) as file:
        lines = [line.rstrip("\r\n") for line in file if line.strip()]  # a tab at the end is that of an empty query
    tabbed = all("\t" in line for line in lines)
    for number, line in enumerate(lines, start=1):
        identifier, text = line.split("\t", 1) if tabbed else (str(number), line)
        if not identifier.strip():
            raise InputError(f"The query file '{path}' has no id before the tab of '{line.strip()}'.")
        yield identifier.strip(), text.strip()


def _passages(source: str | Path) -> Iterator[Document]:
    from hf_cocondenser.data.documents import load_documents

    for document in load_documents(source):
        title = document["title"] or ""
        passages = [passage for passage in document["passages"] if passage.strip()] or [""]
        for number, passage in enumerate(passages):
            identifier = document["_id"] if len(passages) == 1 else f"{document['_id']}#{number}"
            yield Document(identifier, title, passage)
