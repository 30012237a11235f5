"""The `evaluate` metric, as class and as a file for `evaluate.load`."""

from __future__ import annotations

import evaluate
import numpy as np
import pytest

from hf_cocondenser.evaluation import metric as module
from hf_cocondenser.evaluation.measures import evaluate_run

QRELS = {"q1": {"d1": 2, "d2": 1, "d3": 0}, "q2": {"d4": 1}, "q3": {"d1": 1}}
RUN = {"q1": {"d2": 3.0, "d1": np.float32(1.0)}, "q2": {"d9": 1.0, "d4": 0.5}}


@pytest.fixture(params=["class", "file"])
def metric(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    if request.param == "class":
        return module.RankingMeasures(cache_dir=str(tmp_path))
    return evaluate.load(module.__file__, cache_dir=str(tmp_path))


def test_dictionaries(metric):
    measures = ["nDCG@10", "MRR@10", "Recall@100", "MAP"]
    assert (
        metric.compute(predictions=RUN, references=QRELS, measures=measures) == evaluate_run(QRELS, RUN, measures)[0]
    )
    assert metric.compute(predictions=RUN, references=QRELS)["MRR@10"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_batches(metric):
    for query, judged in QRELS.items():
        hits = RUN.get(query, {})
        metric.add_batch(
            predictions=[{"query": query, "documents": list(hits), "scores": [float(s) for s in hits.values()]}],
            references=[{"query": query, "documents": list(judged), "relevance": list(judged.values())}],
        )
    assert metric.compute(measures=["nDCG@10"]) == evaluate_run(QRELS, RUN, ["nDCG@10"])[0]
