"""The measures of trec_eval, computed by ir_measures, with the mean over all judged queries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.runs import Qrels, Run, grade, ranked

DEFAULT_MEASURES = ("nDCG@10", "MRR@10", "Recall@100")

_NAMES = {
    **{"ndcg": "nDCG", "map": "AP", "ap": "AP", "mrr": "RR", "rr": "RR", "recall": "R", "r": "R"},
    **{"success": "Success", "hit": "Success", "p": "P", "precision": "P"},
}
_WITHOUT_CUT = ("nDCG", "AP", "RR")

PerQuery = dict[str, dict[str, float]]
"""Query id -> measure -> value."""


def evaluate_run(
    qrels: Qrels, run: Run, measures: Sequence[str] = DEFAULT_MEASURES
) -> tuple[dict[str, float], PerQuery]:
    """Measure a run: the means over ALL queries of `qrels` and the value of every query.

    A query for which the run returns nothing counts 0. Gains are the relevance values (linear). Every measure ranks as
    trec_eval 10 does: by the score in double precision, ties go to the greater document id.

    Args:
        qrels: the judgements.
        run: the results.
        measures: names such as nDCG@10, MRR@10, Recall@100, MAP, MAP@100, Success@5, P@10, nDCG.

    Raises:
        InputError: a measure is unknown, there are no judgements, or a relevance is no grade.

    Example:
        >>> evaluate_run({"q1": {"d1": 1}}, {"q1": {"d2": 3.0, "d1": 2.5}}, ["MRR@10"])
        ({'MRR@10': 0.5}, {'q1': {'MRR@10': 0.5}})
    """
    import ir_measures

    if not qrels:
        raise InputError("There are no judged queries to measure on.")
    names = {_parse(measure): measure for measure in measures}
    per_query: PerQuery = {query: dict.fromkeys(measures, 0.0) for query in qrels}
    judged = {query: {document: grade(value) for document, value in own.items()} for query, own in qrels.items()}
    # The places in the ranking stand for the scores: pytrec_eval would round these to float32, and RR@k break ties
    # in its own way.
    places = {
        query: {document: float(-place) for place, (document, _) in enumerate(ranked(run[query]))}
        for query in qrels
        if run.get(query) and judged[query]
    }
    for value in ir_measures.iter_calc(list(names), judged, places) if names else ():
        per_query[value.query_id][names[value.measure]] = float(value.value)
    return {m: float(np.mean([values[m] for values in per_query.values()])) for m in measures}, per_query


def check_measures(measures: str | Sequence[str]) -> list[str]:
    """Check the names of measures before anything is computed for them; a single string is one measure.

    Raises:
        InputError: there is no measure, or one is not known (Answer@k is, beside those of `evaluate_run`).
    """
    measures = [measures] if isinstance(measures, str) else list(dict.fromkeys(measures))
    if not measures:
        raise InputError("There is no measure; name at least one, such as nDCG@10.")
    for measure in measures:
        if not re.fullmatch(r"answer@[1-9]\d*", measure, re.IGNORECASE):
            _parse(measure)
    return measures


def _parse(measure: str) -> Any:
    """The measure as ir_measures knows it."""
    import ir_measures

    match = re.fullmatch(r"([A-Za-z]+)(@[1-9]\d{0,8})?", measure)
    name = _NAMES.get(match[1].lower()) if match else None
    if match is None or name is None or not (match[2] or name in _WITHOUT_CUT):
        known = "nDCG[@k], MRR[@k], MAP[@k], Recall@k, Success@k, P@k, Answer@k"
        raise InputError(f"The measure '{measure}' is not known; there are {known}.")
    return ir_measures.parse_measure(name + (match[2] or ""))


def values_of(per_query: PerQuery, measure: str, queries: Iterable[str]) -> np.ndarray:
    """The values of one measure for `queries`, in their order, float64."""
    return np.array([per_query[query][measure] for query in queries])
