"""What the systems' runs are worth on the held-out queries, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_cocondenser.evaluation.measures import PerQuery, evaluate_run, values_of
from hf_cocondenser.evaluation.significance import bootstrap_intervals
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.runs import Run

MEASURES = ("nDCG@10", "MRR@10", "Recall@100")
Figures = dict[str, dict[str, Any]]
"""Measure -> `mean` and its `interval` [low, high]."""


@dataclass(frozen=True)
class Result:
    """One line of the table: a system's run, its means with intervals, and its values query by query."""

    name: str
    run: Run
    figures: Figures
    per_query: PerQuery


def measure(name: str, data: RetrievalData, run: Run) -> Result:
    """Measure a run on the judged queries, with 95 % bootstrap intervals over queries."""
    _, per_query = evaluate_run(data.qrels, run, MEASURES)
    return Result(name, run, _figures(_values(per_query)), per_query)


def difference(one: Result, other: Result) -> Figures:
    """How much better `one` is than `other` by each measure, with paired 95 % bootstrap intervals over queries."""
    return _figures(_values(one.per_query) - _values(other.per_query))


def _values(per_query: PerQuery) -> np.ndarray:
    """The values (queries, measures)."""
    return np.stack([values_of(per_query, measure, sorted(per_query)) for measure in MEASURES], axis=1)


def _figures(values: np.ndarray) -> Figures:
    columns = zip(MEASURES, values.mean(axis=0).tolist(), bootstrap_intervals(values).T.tolist(), strict=True)
    return {name: {"mean": mean, "interval": interval} for name, mean, interval in columns}
