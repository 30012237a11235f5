"""A retrieval data set in memory, cleaned, with counts of everything that was unusual."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hf_cocondenser.data.reading.queries import Query
from hf_cocondenser.data.surrogates import without_lone_surrogates
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.protocols import DEFAULT, Protocol
from hf_cocondenser.retrieval.runs import Qrels
from hf_cocondenser.utils.hashes import hash_texts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Document:
    """A document as a source gives it."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class RetrievalData:
    """A corpus, the queries of one split and their judgements.

    Attributes:
        name: what to call it in tables.
        split: the split of the judgements; None when all queries were loaded without judgements.
        corpus: document id -> "title text" (BEIR's rule: joined by a blank, stripped).
        queries: query id -> text, of the judged queries (of all queries when `split` is None).
        qrels: query id -> document id -> relevance; zeros are kept. (Empty for each query where there are only answers.)
        titles: document id -> title, of the documents that have one (it stands at the head of their corpus text).
        answers: query id -> answer strings, where the source has them.
        counts: how many of what was loaded, dropped or unusual.
        protocol: the rules to evaluate by.
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
    judgements: Iterable[tuple[str, str, int]] | None,
    protocol: Protocol = DEFAULT,
    files: tuple[str | Path, str | Path] | None = None,
) -> RetrievalData:
    """Put a data set together, dropping what cannot be used and counting it.

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
        InputError: the corpus is empty, an id comes twice in a file or stands for two different texts, or no judgement
            names a known query and document.
    """
    documents_file, queries_file = files or (None, None)
    corpus, titles, counts = collect_documents(name, documents, documents_file)
    answers: dict[str, tuple[str, ...]] = {}

    def query_pairs() -> Iterator[tuple[str, str]]:
        for query in queries:
            if query.answers:
                answers[query.id] = query.answers
            yield query.id, without_lone_surrogates(query.text)

    texts = _unique(query_pairs(), f"queries of '{name}'", counts, "duplicate_queries", queries_file)
    qrels: Qrels = {}
    if split is not None and judgements is None:
        texts = {query: texts[query] for query in answers}
        qrels = {query: {} for query in texts}
    elif split is not None and judgements is not None:
        qrels = _clean_judgements(name, split, judgements, corpus, texts, counts)
        texts = {query: texts[query] for query in qrels}
        answers = {query: answers[query] for query in qrels if query in answers}
    counts["queries"] = len(texts)
    counts["empty_queries"] = sum(not text.strip() for text in texts.values())
    _log_counts(name, split, counts)
    return RetrievalData(name, split, corpus, texts, qrels, titles, answers, counts, protocol)


def collect_documents(
    name: str, documents: Iterable[Document], file: str | Path | None = None
) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """Put a corpus together: id -> text with title, id -> title, and counts; `file` as in `assemble`.

    Raises:
        InputError: it is empty, or an id comes twice in `file` or stands for two different texts.
    """
    counts: dict[str, int] = {}
    titles: dict[str, str] = {}

    def pairs() -> Iterator[tuple[str, str]]:
        for document in documents:
            text = without_lone_surrogates(f"{document.title} {document.text}")
            if document.title.strip():
                titles[document.id] = text[: len(document.title)].strip()
            yield document.id, text.strip()

    corpus = _unique(pairs(), f"documents of '{name}'", counts, "duplicate_documents", file)
    if not corpus:
        raise InputError(f"The corpus of '{name}' is empty.")
    counts["documents"] = len(corpus)
    counts["empty_documents"] = sum(not text for text in corpus.values())
    return corpus, titles, counts


def _unique(
    pairs: Iterable[tuple[str, str]], what: str, counts: dict[str, int], counter: str, file: str | Path | None
) -> dict[str, str]:
    texts: dict[str, str] = {}
    counts[counter] = 0
    for name, text in pairs:
        if name not in texts:
            texts[name] = text
        elif file is not None:
            raise InputError(f"'{file}' has the id '{name}' twice; give each line an id of its own.")
        elif texts[name] == text:
            counts[counter] += 1
        else:
            raise InputError(f"The {what} have two different texts under the id '{name}'; give each its own id.")
    return texts


def _clean_judgements(
    name: str,
    split: str,
    judgements: Iterable[tuple[str, str, int]],
    corpus: dict[str, str],
    queries: dict[str, str],
    counts: dict[str, int],
) -> Qrels:
    qrels: Qrels = {}
    names = (
        "judgements",
        "judgements_of_unknown_queries",
        "judgements_of_unknown_documents",
        "repeated_judgements",
        "zero_judgements",
        "graded_judgements",
    )
    counts.update(dict.fromkeys(names, 0))
    example = ("", "")
    total = 0
    for query, document, relevance in judgements:
        total += 1
        if query not in queries:
            counts["judgements_of_unknown_queries"] += 1
            example = example if example[0] else ("query", query)
            continue
        if document not in corpus:
            counts["judgements_of_unknown_documents"] += 1
            example = example if example[0] else ("document", document)
            continue
        judged = qrels.setdefault(query, {})
        counts["repeated_judgements"] += document in judged
        judged[document] = relevance  # the last one counts, as in trec_eval's readers
    relevances = [relevance for judged in qrels.values() for relevance in judged.values()]
    counts["judgements"] = len(relevances)
    counts["zero_judgements"] = sum(relevance <= 0 for relevance in relevances)
    counts["graded_judgements"] = sum(relevance > 1 for relevance in relevances)
    counts["queries_without_relevant"] = sum(max(judged.values()) <= 0 for judged in qrels.values())
    if not total:
        raise InputError(f"The '{split}' judgements of '{name}' are empty.")
    if not qrels:
        raise InputError(
            f"None of the {total} '{split}' judgements of '{name}' names a known query and document"
            f" (for example the {example[0]} '{example[1]}'); check that corpus, queries and qrels belong together."
        )
    return qrels


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
