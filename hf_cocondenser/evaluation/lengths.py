"""How long the retrieved documents are: the GTR paper's look at what a retriever prefers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.runs import Run, ranked
from hf_cocondenser.retrieval.words import count_words


@dataclass(frozen=True)
class Lengths:
    """Words of a group of documents: mean, and the 5th, 25th, 50th, 75th and 95th percentiles."""

    group: str
    mean: float
    percentiles: tuple[float, float, float, float, float]


def document_lengths(data: RetrievalData, runs: dict[str, Run], depth: int = 10) -> list[Lengths]:
    """Lengths of the whole corpus, of the relevant documents, and of each system's first `depth` hits.

    A document counts as often as it is relevant or retrieved; one that the corpus does not hold is left out.
    """
    words = _Words(data)
    relevant = [document for documents in data.relevant().values() for document in documents]
    groups = {"corpus": list(data.corpus), "relevant": relevant}
    for name, run in runs.items():
        groups[name] = [document for query in data.qrels for document, _ in ranked(run.get(query, {}), depth)]
    return [_summary(group, [words[d] for d in documents if d in data.corpus]) for group, documents in groups.items()]


def words_of(data: RetrievalData, documents: Iterable[str]) -> list[float]:
    """Words of each of some documents."""
    words = _Words(data)
    return [float(words[document]) for document in documents]


def words_of_hits(data: RetrievalData, run: Run, depth: int = 10) -> list[float]:
    """Mean words of each query's first `depth` hits, in the order of the judgements (0 where nothing was found)."""
    words = _Words(data)
    hits = ([words[document] for document, _ in ranked(run.get(query, {}), depth)] for query in data.qrels)
    return [float(np.mean(found)) if found else 0.0 for found in hits]


def _summary(group: str, words: list[int]) -> Lengths:
    values = np.array(words or [0])
    low, first, median, third, high = np.percentile(values, [5, 25, 50, 75, 95]).tolist()
    return Lengths(group, float(values.mean()), (low, first, median, third, high))


class _Words(dict[str, int]):
    """Document id -> number of words, counted when first asked for."""

    def __init__(self, data: RetrievalData) -> None:
        super().__init__()
        self._corpus = data.corpus

    def __missing__(self, document: str) -> int:
        self[document] = count = count_words(self._corpus[document])
        return count
