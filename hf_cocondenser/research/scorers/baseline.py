"""BM25 as the comparison's first row, timed query by query like the scorers."""

from __future__ import annotations

import time

import numpy as np

from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.runs import Run

_TIMED = 100


def bm25_search(data: RetrievalData, depth: int) -> tuple[str, Run, float, float]:
    """Search a data set's corpus for its queries.

    Returns:
        The variant's name, the run, the median milliseconds of a query asked alone, and bytes per document.
    """
    index = BM25Index.build(data.corpus, show_progress=len(data.corpus) > 50_000)
    run = index.search(data.queries, depth, exclude_same_id=data.protocol.exclude_same_id)
    seconds = []
    for query, text in list(data.queries.items())[:_TIMED]:
        started = time.perf_counter()
        index.search({query: text}, depth)
        seconds.append(time.perf_counter() - started)
    return index.variant, run, 1000 * float(np.median(seconds)), index.nbytes / len(data.corpus)
