"""Measure a retriever on data in memory, beside BM25, and see which differences are significant.

    python examples/evaluate.py cocondenser-tiny

The documents are docstrings of Python's own library; the first line of each is the query that must find the rest.
"""

import inspect
import pathlib
import statistics
import sys
import unittest

from hf_cocondenser import RetrievalData, SearchOptions, compare_runs, evaluate_retriever

model = sys.argv[1] if len(sys.argv) > 1 else "cocondenser-tiny"

corpus, queries, qrels = {}, {}, {}
for owner in (statistics, pathlib.Path, unittest.TestCase):
    for name, member in inspect.getmembers(owner, callable):
        first, _, rest = (inspect.getdoc(member) or "").partition("\n")
        if rest.strip() and not name.startswith("_"):
            corpus[name], queries[name], qrels[name] = rest, first, {name: 1}
data = RetrievalData.from_dicts(corpus, queries, qrels, name="docstrings")
print(data)

evaluation = evaluate_retriever(model, data, measures=["nDCG@10", "Recall@100"], options=SearchOptions(hybrid=True))
print(evaluation)  # the tables
for comparison in evaluation.comparisons:
    print(
        f"{comparison.system} - {comparison.baseline} in {comparison.measure}: {comparison.difference:+.3f}, "
        f"p = {comparison.p_holm:.3f}"
    )

# Runs are dictionaries: keep them, change them, compare them again. Here: without the first document of every query.
runs = evaluation.runs["docstrings"]
best = max(runs, key=lambda system: evaluation.means["docstrings"][system]["nDCG@10"])
worse = {query: dict(sorted(found.items(), key=lambda pair: -pair[1])[1:]) for query, found in runs[best].items()}
print(compare_runs({best: runs[best], "without the first": worse}, data, measures=["nDCG@10"]))
