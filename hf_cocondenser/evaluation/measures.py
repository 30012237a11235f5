"""The measures of trec_eval, computed by pytrec_eval, with the mean over all judged queries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.runs import Qrels, Run

DEFAULT_MEASURES = ("nDCG@10", "MRR@10", "Recall@100")

_CUT_MEASURES = {"ndcg": "ndcg_cut", "recall": "recall", "success": "success", "map": "map_cut", "p": "P"}
_FULL_MEASURES = {"ndcg": "ndcg", "map": "map", "mrr": "recip_rank"}
_SYNONYMS = {"r": "recall", "rr": "mrr", "precision": "p", "ap": "map", "hit": "success"}

PerQuery = dict[str, dict[str, float]]
"""Query id -> measure -> value."""


def evaluate_run(
    qrels: Qrels, run: Run, measures: Sequence[str] = DEFAULT_MEASURES
) -> tuple[dict[str, float], PerQuery]:
    """Measure a run: the means over ALL queries of `qrels` and the value of every query.

    A query for which the run returns nothing counts 0 (pytrec_eval alone leaves it out of the mean). Gains are the
    relevance values (linear); ties go to the greater document id, as in trec_eval.

    Args:
        qrels: the judgements.
        run: the results.
        measures: names such as nDCG@10, MRR@10, Recall@100, MAP, MAP@100, Success@5, P@10, nDCG.

    Raises:
        InputError: a measure is unknown, or there are no judgements.
    """
    import pytrec_eval

    if not qrels:
        raise InputError("There are no judged queries to measure on.")
    parsed = {measure: _parse(measure) for measure in measures}
    per_query: PerQuery = {query: dict.fromkeys(measures, 0.0) for query in qrels}
    scores = {query: _plain(hits) for query, hits in run.items() if query in qrels and hits}
    # trec_eval has no MRR@k: it is the reciprocal rank of the run cut at k.
    cuts = {cut for kind, cut in parsed.values() if kind == "mrr"}
    for cut in [None, *sorted(cuts - {None})]:  # type: ignore[type-var]
        names = {
            measure: _trec_name(kind, own_cut)
            for measure, (kind, own_cut) in parsed.items()
            if (own_cut if kind == "mrr" else None) == cut
        }
        if not names:
            continue
        evaluator = pytrec_eval.RelevanceEvaluator(qrels, set(names.values()))
        cut_scores = scores if cut is None else {query: _head(hits, cut) for query, hits in scores.items()}
        for query, values in evaluator.evaluate(cut_scores).items():
            for measure, name in names.items():
                per_query[query][measure] = values[name.replace(".", "_")]
    means = {measure: float(np.mean([values[measure] for values in per_query.values()])) for measure in measures}
    return means, per_query


def check_measures(measures: Sequence[str]) -> None:
    """Check the names of measures before anything is computed for them.

    Raises:
        InputError: there is no measure, or one is not known (Answer@k is, beside those of `evaluate_run`).
    """
    if not measures:
        raise InputError("There is no measure; name at least one, such as nDCG@10.")
    for measure in measures:
        if not re.fullmatch(r"answer@[1-9]\d*", measure, re.IGNORECASE):
            _parse(measure)


def _parse(measure: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"([A-Za-z]+)(?:@(\d+))?", measure)
    if match:
        kind = match[1].lower()
        kind = _SYNONYMS.get(kind, kind)
        cut = int(match[2]) if match[2] else None
        if (cut is None and kind in _FULL_MEASURES) or (cut and (kind in _CUT_MEASURES or kind == "mrr")):
            return kind, cut
    known = "nDCG[@k], MRR[@k], MAP[@k], Recall@k, Success@k, P@k, Answer@k"
    raise InputError(f"The measure '{measure}' is not known; there are {known}.")


def _trec_name(kind: str, cut: int | None) -> str:
    if cut is None or kind == "mrr":
        return _FULL_MEASURES[kind]
    return f"{_CUT_MEASURES[kind]}.{cut}"


def _plain(hits: Mapping[str, float]) -> dict[str, float]:
    """Hits as pytrec_eval takes them: it refuses NumPy scalars."""
    return {document: float(score) for document, score in hits.items()}


def _head(hits: dict[str, float], cut: int) -> dict[str, float]:
    return dict(sorted(hits.items(), key=lambda hit: (hit[1], hit[0]), reverse=True)[:cut])


def values_of(per_query: PerQuery, measure: str, queries: Iterable[str]) -> np.ndarray:
    """The values of one measure for `queries`, in their order, float64."""
    return np.array([per_query[query][measure] for query in queries])
