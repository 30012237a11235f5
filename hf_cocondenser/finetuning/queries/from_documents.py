"""Training queries from documents alone: titles, or first sentences, taken away from what they have to find."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_cocondenser.data.text import HAN_OR_KANA, first_sentence
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query, RetrievalData, assemble
from hf_cocondenser.retrieval.words import same_text

logger = logging.getLogger(__name__)

_CJK = re.compile(HAN_OR_KANA)
_SHORTEST_QUERY = 2
_LONGEST_QUERY = 60  # words (or Chinese and Japanese characters)
_SHORTEST_TEXT = 10


def pseudo_queries(documents: Iterable[Mapping[str, Any]], name: str, passages_per_document: int = 8) -> RetrievalData:
    """Make a training set of documents (as `load_documents` gives them).

    A document with a title of several words gives the query "title", for which all its passages are relevant; the
    title is not put in front of them. A passage of any other document gives its first sentence as a query, and the rest
    of the passage is what is to be found. Left out are texts of under ten words and queries of under two or over sixty,
    and queries that stand for several documents, since nobody could tell which one is meant.

    Args:
        documents: rows with `_id`, `title` and `passages`.
        name: what to call the data set.
        passages_per_document: the first so many are used.

    Raises:
        InputError: no document gives a query.
    """
    corpus: list[Document] = []
    asked: list[tuple[str, str, list[str]]] = []
    counts: Counter[str] = Counter()
    for document in documents:
        counts["documents"] += 1
        title = " ".join((document["title"] or "").split())
        if _words(title) < _SHORTEST_QUERY:
            title = ""
        passages = [text for text in document["passages"] if _words(text) >= _SHORTEST_TEXT][:passages_per_document]
        numbered = [(f"{document['_id']}#{number}", text) for number, text in enumerate(passages)]
        if title:
            corpus.extend(Document(identifier, "", text) for identifier, text in numbered)
            if numbered:
                asked.append((str(document["_id"]), title, [identifier for identifier, _ in numbered]))
            continue
        for identifier, sentence, rest in _headless(numbered):
            corpus.append(Document(identifier, "", rest))
            asked.append((identifier, sentence, [identifier]))
    times = Counter(same_text(text) for _, text, _ in asked)
    kept = [
        (identifier, text, relevant)
        for identifier, text, relevant in asked
        if _SHORTEST_QUERY <= _words(text) <= _LONGEST_QUERY and times[same_text(text)] == 1
    ]
    logger.info("%d of %d possible queries from %d documents are kept.", len(kept), len(asked), counts["documents"])
    if not kept:
        raise InputError(
            f"No document of '{name}' gives a query: they need titles of several words, or several sentences."
        )
    queries = (Query(identifier, text) for identifier, text, _ in kept)
    judgements = ((query, document, 1) for query, _, relevant in kept for document in relevant)
    return assemble(name, "train", corpus, queries, judgements)


def _headless(passages: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """(id, first sentence, the rest) of the passages that are long enough to be cut."""
    for identifier, text in passages:
        sentence, rest = first_sentence(text)
        if _words(rest) >= _SHORTEST_TEXT:
            yield identifier, sentence, rest


def _words(text: str) -> int:
    return len(_CJK.sub(" x ", text).split())
