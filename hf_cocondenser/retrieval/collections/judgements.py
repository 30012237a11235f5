"""Judgements: reading their files, and what is counted of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.runs import Qrels, grade

logger = logging.getLogger(__name__)

Judgement = tuple[str, str, Any]
"""Query id, document id, relevance."""

_TOLD = {
    "judgements_of_unknown_queries": "they are left out",
    "judgements_of_unknown_documents": "a retriever cannot find them, and measures count them as missed",
    "contradicting_judgements": "the last one of a query and document counts",
}


def clean_judgements(
    name: str,
    split: str,
    judgements: Iterable[Judgement],
    corpus: Mapping[str, str],
    queries: Mapping[str, str],
    counts: dict[str, int],
) -> Qrels:
    """Collect judgements, and count and tell what is unusual about them.

    Args:
        name: of the data set.
        split: of the judgements.
        judgements: in any order.
        corpus: whose keys are the document ids.
        queries: whose keys are the query ids; judgements of others are left out.
        counts: gets the numbers.

    Raises:
        InputError: there is no judgement, none names a known query and document, or a relevance is no grade.
    """
    qrels: Qrels = {}
    found: Counter[str] = Counter()
    example: dict[str, str] = {}
    for query, document, value in judgements:
        query, document, relevance = query.strip(), document.strip(), grade(value)
        found["all"] += 1
        if query not in queries:
            found["judgements_of_unknown_queries"] += 1
            example.setdefault("query", query)
            continue
        if document not in corpus:  # it stays a part of the ideal ranking
            found["judgements_of_unknown_documents"] += 1
            example.setdefault("document", document)
        judged = qrels.setdefault(query, {})
        found["repeated_judgements"] += document in judged
        found["contradicting_judgements"] += judged.get(document, relevance) != relevance
        judged[document] = relevance  # the last one counts
    if not found["all"]:
        raise InputError(f"The '{split}' judgements of '{name}' are empty.")
    if not any(document in corpus for judged in qrels.values() for document in judged):
        [(what, unknown), *_] = example.items()
        raise InputError(
            f"None of the {found['all']} '{split}' judgements of '{name}' names a known query and document"
            f" (for example the {what} '{unknown}'); check that corpus, queries and qrels belong together."
        )
    relevances = [relevance for judged in qrels.values() for relevance in judged.values()]
    counts["judgements"] = len(relevances)
    for key in (*_TOLD, "repeated_judgements"):
        counts[key] = found[key]
    counts["zero_judgements"] = sum(relevance <= 0 for relevance in relevances)
    counts["graded_judgements"] = sum(relevance > 1 for relevance in relevances)
    counts["queries_without_relevant"] = sum(max(judged.values()) <= 0 for judged in qrels.values())
    for key, meaning in _TOLD.items():
        if counts[key]:
            which = "".join(
                f", such as '{example[kind]}'" for kind in ("query", "document") if kind in key and kind in example
            )
            logger.warning("%s: %s %s%s: %s.", name, f"{counts[key]:,}", key.replace("_", " "), which, meaning)
    return qrels
