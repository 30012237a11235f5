"""A retrieval data set in memory, cleaned, with counts of everything that was unusual."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_cocondenser.data.reading.documents import read_documents
from hf_cocondenser.data.reading.queries import Query, read_queries
from hf_cocondenser.data.surrogates import without_lone_surrogates
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.judgements import Judgement, clean_judgements, read_qrels
from hf_cocondenser.retrieval.collections.memory import as_id, as_text, judgements_of_dicts
from hf_cocondenser.retrieval.collections.protocols import DEFAULT, Protocol
from hf_cocondenser.retrieval.runs import Qrels
from hf_cocondenser.retrieval.words import same_text
from hf_cocondenser.utils.hashes import hash_texts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Document:
    """A document as a source gives it."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, repr=False)
class RetrievalData:
    """A corpus, the queries of one split and their judgements.

    `load_retrieval_data` reads one, `RetrievalData.from_dicts` and `RetrievalData.from_datasets` make one of what is in
    memory.

    Attributes:
        name: what to call it in tables.
        split: the split of the judgements; None when all queries were loaded without judgements.
        corpus: document id -> "title text" (BEIR's rule: joined by a blank, stripped); empty where only runs are compared.
        queries: query id -> text, of the judged queries (of all queries when `split` is None).
        qrels: query id -> document id -> relevance; zeros are kept, and so are documents that the corpus lacks: they are
            part of the ideal ranking. (Empty for each query where there are only answers.)
        titles: document id -> title, of the documents that have one (it stands at the head of their corpus text).
        answers: query id -> answer strings, where the source has them.
        counts: how many of what was loaded, dropped or unusual.
        protocol: the rules to evaluate by.

    Raises:
        InputError: it is made by hand, and its ids are not strings or a judged query has no text.
    """

    name: str
    split: str | None
    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: Qrels
    titles: dict[str, str] = field(default_factory=dict)
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    protocol: Protocol = DEFAULT

    def __post_init__(self) -> None:
        advice = "RetrievalData.from_dicts puts it right"
        for judged in self.qrels.values():
            if not isinstance(judged, Mapping):
                raise InputError(f"Judgements are document id -> relevance, not {type(judged).__name__}; {advice}.")
        for what, ids in (("document", self.corpus), ("query", self.queries), ("judged query", self.qrels)):
            if wrong := next((name for name in ids if not isinstance(name, str)), None):
                raise InputError(f"The {what} id {wrong!r} is not a string; {advice}.")
        if unknown := next((query for query in self.qrels if query not in self.queries), None):
            raise InputError(f"The judged query '{unknown}' is not among the queries; {advice}.")

    def __repr__(self) -> str:
        judgements = sum(map(len, self.qrels.values()))
        return (
            f"RetrievalData('{self.name}', split={self.split!r}: {len(self.corpus):,} documents, "
            f"{len(self.queries):,} queries, {judgements:,} judgements)"
        )

    @classmethod
    def from_dicts(
        cls,
        corpus: Mapping[Any, str | Mapping[str, str]],
        queries: Mapping[Any, str],
        qrels: Mapping[Any, Any],
        *,
        name: str = "data",
        split: str = "test",
        answers: Mapping[Any, Iterable[str]] | None = None,
    ) -> RetrievalData:
        """Make a data set of what is in memory, cleaned and counted as one that is read from files.

        Args:
            corpus: document id -> text, or -> {"title": ..., "text": ...}. Ids may be integers.
            queries: query id -> text.
            qrels: query id -> {document id: relevance}, or -> the relevant documents.
            name: what to call it in tables.
            split: what to call the judgements in tables.
            answers: query id -> strings that a passage must hold (for Answer@k).

        Raises:
            InputError: a text is no text, a relevance no grade, or no judgement names a known query and document.

        Example:
            >>> RetrievalData.from_dicts({1: "Whales sing."}, {"q": "who sings?"}, {"q": {1}}, name="tiny")
            RetrievalData('tiny', split='test': 1 documents, 1 queries, 1 judgements)
        """
        answers = answers or {}
        return assemble(
            name,
            split,
            [document_of(identifier, value) for identifier, value in corpus.items()],
            [Query(as_id(query), as_text(text), tuple(answers.get(query, ()))) for query, text in queries.items()],
            judgements_of_dicts(qrels),
        )

    @classmethod
    def from_datasets(
        cls, corpus: Any, queries: Any, qrels: Any, *, name: str = "data", split: str = "test"
    ) -> RetrievalData:
        """Make a data set of `datasets` data sets, or of lists of rows, with the columns of BEIR or the field's other names.

        Args:
            corpus: rows with `_id`, `title` (may be missing) and `text`.
            queries: rows with `_id` and `text`.
            qrels: rows with `query-id`, `corpus-id` and `score`.
            name: what to call it in tables.
            split: what to call the judgements in tables.

        Raises:
            InputError: columns are missing, or see `from_dicts`.
        """
        documents = (Document(d.id, d.title, d.text) for d in read_documents(corpus, require_ids=True))
        return assemble(name, split, documents, read_queries(queries, require_ids=True), read_qrels(qrels))

    def relevant(self) -> dict[str, list[str]]:
        """The documents of the corpus that are judged above 0, per query; queries without one are left out.

        Queries of equal words share their relevant documents, whatever their ids.
        """
        of_text: dict[str, dict[str, None]] = {}
        own: dict[str, dict[str, None]] = {}
        for query, judged in self.qrels.items():
            found = dict.fromkeys(d for d, relevance in judged.items() if relevance > 0 and d in self.corpus)
            if found:
                own[query] = found
                of_text.setdefault(same_text(self.queries[query]), {}).update(found)
        return {query: [*(found | of_text[same_text(self.queries[query])])] for query, found in own.items()}

    def body(self, document: str) -> str:
        """A document's text without its title."""
        return self.corpus[document][len(self.titles.get(document, "")) :].lstrip()

    def corpus_hash(self) -> str:
        """A hash of every document's id and text, in order."""
        return hash_texts(self.corpus.items())


def assemble(
    name: str,
    split: str | None,
    documents: Iterable[Document],
    queries: Iterable[Query],
    judgements: Iterable[Judgement] | None,
    protocol: Protocol = DEFAULT,
    files: tuple[str | Path, str | Path] | None = None,
) -> RetrievalData:
    """Put a data set together, dropping what cannot be used and counting it.

    Blanks around ids are dropped, of documents, queries and judgements alike.

    Args:
        name: what to call it.
        split: the split of `judgements`; None keeps all queries and takes no judgements.
        documents: title and text are joined by a blank, and stripped (BEIR's rule).
        queries: all queries.
        judgements: (query id, document id, relevance); None where there are only answers to look for in passages.
        protocol: the rules to evaluate by.
        files: those of `documents` and `queries`, where the user can put right that an id comes twice in one; of other
            sources, a row that comes again with the same text is counted and dropped.

    Raises:
        InputError: the corpus or the queries are empty or have no text, an id comes twice in a file or stands for two
            different texts, a relevance is no grade, or no judgement names a known query and document.
    """
    documents_file, queries_file = files or (None, None)
    corpus, titles, counts = collect_documents(name, documents, documents_file)
    found = list(queries)
    answers = {query.id.strip(): query.answers for query in found if query.answers}
    texts = _unique(
        ((query.id, query.text) for query in found), f"queries of '{name}'", counts, "duplicate_queries", queries_file
    )
    qrels: Qrels = {}
    if split is not None and judgements is None:
        texts = {query: texts[query] for query in answers}
        qrels = {query: {} for query in texts}
    elif split is not None and judgements is not None:
        qrels = clean_judgements(name, split, judgements, corpus, texts, counts)
        texts = {query: texts[query] for query in qrels}
        answers = {query: answers[query] for query in qrels if query in answers}
    counts["queries"] = len(texts)
    counts["empty_queries"] = sum(not text.strip() for text in texts.values())
    if texts and counts["empty_queries"] == len(texts):
        raise InputError(f"No query of '{name}' has text; is it in another column?")
    _log_counts(name, split, counts)
    return RetrievalData(name, split, corpus, texts, qrels, titles, answers, counts, protocol)


def collect_documents(
    name: str, documents: Iterable[Document], file: str | Path | None = None
) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """Put a corpus together: id -> text with title, id -> title, and counts; `file` as in `assemble`.

    Raises:
        InputError: it is empty or has no text, or an id comes twice in `file` or stands for two different texts.
    """
    counts: dict[str, int] = {}
    titles: dict[str, str] = {}

    def pairs() -> Iterable[tuple[str, str]]:
        for document in documents:
            if title := without_lone_surrogates(document.title).strip():
                titles[without_lone_surrogates(document.id).strip()] = title
            yield document.id, f"{document.title} {document.text}".strip()

    corpus = _unique(pairs(), f"documents of '{name}'", counts, "duplicate_documents", file)
    counts["documents"] = len(corpus)
    counts["empty_documents"] = sum(not text for text in corpus.values())
    if not corpus:
        raise InputError(f"The corpus of '{name}' is empty.")
    if counts["empty_documents"] == len(corpus):
        raise InputError(f"No document of '{name}' has text; is it in another column?")
    return corpus, titles, counts


def _unique(
    pairs: Iterable[tuple[str, str]], what: str, counts: dict[str, int], counter: str, file: str | Path | None
) -> dict[str, str]:
    texts: dict[str, str] = {}
    counts[counter] = 0
    for identifier, raw in pairs:
        name, text = without_lone_surrogates(identifier).strip(), without_lone_surrogates(raw)
        if not name:
            raise InputError(f"One of the {what} has an empty id; give each an id of its own.")
        if name not in texts:
            texts[name] = text
        elif file is not None:
            raise InputError(f"'{file}' has the id '{name}' twice; give each line an id of its own.")
        elif texts[name] == text:
            counts[counter] += 1
        else:
            raise InputError(f"The {what} have two different texts under the id '{name}'; give each its own id.")
    return texts


def document_of(identifier: Any, value: Any) -> Document:
    """A document of a dictionary: its id, and its text or its title and text."""
    if isinstance(value, Mapping):
        return Document(as_id(identifier), as_text(value.get("title") or ""), as_text(value.get("text") or ""))
    return Document(as_id(identifier), "", as_text(value))


def _log_counts(name: str, split: str | None, counts: dict[str, int]) -> None:
    always = {"documents", "queries", "judgements"}
    parts = [f"{value:,} {key.replace('_', ' ')}" for key, value in counts.items() if value or key in always]
    logger.info("%s%s: %s", name, f" ({split})" if split else "", ", ".join(parts))


def data_hashes(data: RetrievalData) -> dict[str, str]:
    """Hashes of corpus, queries and judgements."""
    return {
        "corpus": data.corpus_hash(),
        "queries": hash_texts(data.queries.items()),
        "qrels": hashlib.sha256(json.dumps(data.qrels, sort_keys=True).encode()).hexdigest(),
    }
