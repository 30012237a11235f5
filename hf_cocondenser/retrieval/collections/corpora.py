"""Corpora and queries to search without judgements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import DatasetDict

from hf_cocondenser.data.reading.columns import Columns, DocumentColumns
from hf_cocondenser.data.reading.documents import read_documents
from hf_cocondenser.data.reading.queries import read_queries
from hf_cocondenser.data.reading.tables import Source
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, RetrievalData, collect_documents, document_of


def load_corpus(
    source: Source | Mapping[Any, Any] | RetrievalData, columns: DocumentColumns | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """Load documents to search in, whole and with their own ids.

    Args:
        source: whatever `hf_cocondenser.load_documents` takes; or document id -> text, or {"title": ..., "text": ...}; or
            a judged collection, whose documents are taken.
        columns: those that the user names.

    Returns:
        Document id -> text (title first), and document id -> title.

    Raises:
        InputError: the source cannot be read, is empty, or has one id twice.
    """
    if isinstance(source, RetrievalData):
        return source.corpus, source.titles
    if isinstance(source, Mapping) and not isinstance(source, DatasetDict):
        corpus, titles, _ = collect_documents("corpus", [document_of(*pair) for pair in source.items()])
        return corpus, titles
    read = read_documents(source, columns)
    documents = (Document(document.id, document.title, document.text) for document in read)
    corpus, titles, _ = collect_documents(read.name, documents, read.name)
    return corpus, titles


def load_queries(source: Source, columns: Columns | None = None) -> dict[str, str]:
    """Load queries: JSON lines or arrays, CSV, TSV, Parquet, TREC topics, lines `id<TAB>text`, or one query a line.

    Queries without ids are numbered from 1.

    Raises:
        InputError: the file is missing or empty, its columns cannot be told, or an id comes twice.
    """
    queries: dict[str, str] = {}
    for query in read_queries(source, columns):
        if query.id in queries:
            raise InputError(f"{query.place} has the id '{query.id}' of an earlier query; give each query its own id.")
        queries[query.id] = query.text
    return queries
