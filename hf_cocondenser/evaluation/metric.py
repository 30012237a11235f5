"""The ranking measures as a metric of Hugging Face's `evaluate`.

    metric = evaluate.load("hf_cocondenser/evaluation/metric.py")   # or the file's full path
    metric.compute(predictions=run, references=qrels, measures=["nDCG@10"])

`run` and `qrels` map query ids to {document id: score} and {document id: relevance}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate

from hf_cocondenser.evaluation.measures import DEFAULT_MEASURES, evaluate_run

_DESCRIPTION = """\
Ranking measures of trec_eval (nDCG with graded gains, MRR, recall, MAP, success, precision) over a run.
Means are over all judged queries: one without results counts 0."""

_INPUTS = """
Args:
    predictions: a run, query id -> {document id: score}; or, for add_batch, rows with `query`, `documents`, `scores`.
    references: judgements, query id -> {document id: relevance}; or rows with `query`, `documents`, `relevance`.
    measures: names such as nDCG@10, MRR@10, Recall@100, MAP, Success@5, P@10.
Returns:
    measure -> mean over queries."""

_CITATION = """\
@inproceedings{VanGysel2018pytreceval,
  title = {Pytrec\\_eval: An Extremely Fast Python Interface to trec\\_eval},
  author = {Van Gysel, Christophe and de Rijke, Maarten},
  booktitle = {SIGIR},
  year = {2018}
}"""


class RankingMeasures(evaluate.Metric):
    """trec_eval's measures; see the module's docstring."""

    def _info(self) -> evaluate.MetricInfo:
        ids = {"query": datasets.Value("string"), "documents": datasets.List(datasets.Value("string"))}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": {**ids, "scores": datasets.List(datasets.Value("float64"))},
                    "references": {**ids, "relevance": datasets.List(datasets.Value("int64"))},
                }
            ),
        )

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float] | None:
        """Measure `predictions` (a run) against `references` (judgements), or what `add_batch` collected."""
        if isinstance(predictions, Mapping) and isinstance(references, Mapping):
            # One row for each judged query, which is how the two stay aligned.
            queries = list(references)
            predictions = [_row(query, predictions.get(query, {}), "scores", float) for query in queries]
            references = [_row(query, references[query], "relevance", int) for query in queries]
        return super().compute(predictions=predictions, references=references, **kwargs)

    def _compute(
        self,
        predictions: Sequence[dict[str, Any]],
        references: Sequence[dict[str, Any]],
        measures: Sequence[str] = DEFAULT_MEASURES,
    ) -> dict[str, float]:
        run = {row["query"]: dict(zip(row["documents"], row["scores"], strict=True)) for row in predictions}
        qrels = {row["query"]: dict(zip(row["documents"], row["relevance"], strict=True)) for row in references}
        return evaluate_run(qrels, run, measures)[0]


def _row(query: str, hits: Mapping[str, Any], column: str, kind: type) -> dict[str, Any]:
    return {"query": query, "documents": list(hits), column: [kind(value) for value in hits.values()]}
