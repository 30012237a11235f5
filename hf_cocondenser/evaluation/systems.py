"""Several systems on several data sets: measures with intervals, and paired comparisons with a baseline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.answers import answer_ranks
from hf_cocondenser.evaluation.evaluation import Comparison, Evaluation, Kind, SystemResult
from hf_cocondenser.evaluation.measures import DEFAULT_MEASURES, PerQuery, evaluate_run, values_of
from hf_cocondenser.evaluation.significance import bootstrap_intervals, holm, randomisation_test
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.runs import Run, without_same_ids
from hf_cocondenser.utils.files import file_name

_ANSWER = re.compile(r"answer@(\d+)", re.IGNORECASE)


def evaluate_systems(
    data_sets: Sequence[RetrievalData],
    runs: Mapping[str, Mapping[str, Run]],
    *,
    baseline: str,
    measures: Sequence[str] = DEFAULT_MEASURES,
    kinds: Mapping[str, Kind] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure runs and compare every system with the baseline.

    Args:
        data_sets: with different names.
        runs: data set name -> system name -> run; every system on every data set.
        baseline: one of the systems.
        measures: trec_eval's by the names of `evaluate_run`, and DPR's Answer@k where the data have answers.
        kinds: system name -> what it is; `run` where it is not said.
        settings: how the runs were made, for the record.

    Raises:
        InputError: two data sets or systems have one name, or a measure is unknown or cannot be had.
    """
    names = list(dict.fromkeys(name for systems in runs.values() for name in systems))
    require_distinct("data sets", [data.name for data in data_sets])
    require_distinct("systems", names)
    results = {
        data.name: {name: measure_run(data, run, measures) for name, run in runs[data.name].items()}
        for data in data_sets
    }
    all_kinds: dict[str, Kind] = {name: (kinds or {}).get(name, "run") for name in names}
    by_name = {data.name: data for data in data_sets}
    evaluation = Evaluation(tuple(measures), baseline, by_name, results, all_kinds, settings=settings or {})
    for system in evaluation.systems[1:]:
        for measure in measures:
            compared = [
                _compare(name, systems[system], systems[baseline], system, baseline, measure)
                for name, systems in results.items()
            ]
            for comparison, corrected in zip(compared, holm([c.p_value for c in compared]), strict=True):
                comparison.p_holm = corrected
            evaluation.comparisons.extend(compared)
    return evaluation


def require_distinct(what: str, names: Sequence[str]) -> None:
    """Check that tables and files can tell data sets, or systems, apart.

    Raises:
        InputError: two have one name, or names of which the same file name is made.
    """
    files: dict[str, str] = {}
    for name in names:
        if (other := files.setdefault(file_name(name).casefold(), name)) != name or names.count(name) > 1:
            called = f"called '{name}'" if other == name else f"'{other}' and '{name}' have one file name"
            raise InputError(f"Two {what} {called}; give each a name of its own.")


def require_measurable(data: RetrievalData, measures: Sequence[str]) -> None:
    """Check, before anything is searched, that the measures mean something on a data set.

    Raises:
        InputError: Answer@k is asked for and there are no answers, or another one and there are no judgements, or none
            above 0.
    """
    answers = [measure for measure in measures if _ANSWER.fullmatch(measure)]
    if answers and not data.answers:
        raise InputError(f"'{data.name}' has no answers, so {', '.join(answers)} cannot be measured on it.")
    if len(answers) == len(measures):
        return
    if not any(data.qrels.values()):
        what = (
            "has answers but no judgements, so only Answer@k can"
            if data.answers
            else "has no judgements, so nothing can"
        )
        raise InputError(f"'{data.name}' {what} be measured on it.")
    if not any(relevance > 0 for judged in data.qrels.values() for relevance in judged.values()):
        raise InputError(
            f"No '{data.split}' judgement of '{data.name}' is above 0, so every measure would be 0; "
            "name judgements that say which documents are relevant."
        )


def measure_run(data: RetrievalData, run: Run, measures: Sequence[str] = DEFAULT_MEASURES) -> SystemResult:
    """Measure a run by the data set's protocol, with 95 % bootstrap intervals over queries.

    Raises:
        InputError: a measure is unknown or cannot be had, see `require_measurable`.
    """
    if data.protocol.exclude_same_id:
        run = without_same_ids(run)
    require_measurable(data, measures)
    answer_cuts = {measure: int(match[1]) for measure in measures if (match := _ANSWER.fullmatch(measure))}
    trec_measures = [measure for measure in measures if measure not in answer_cuts]
    _, per_query = evaluate_run(data.qrels, run, trec_measures)
    if answer_cuts:
        _add_answers(data, run, answer_cuts, per_query)
    values = np.array([[found[measure] for measure in measures] for found in per_query.values()])
    lows, highs = bootstrap_intervals(values)
    means = dict(zip(measures, values.mean(axis=0).tolist(), strict=True))
    intervals = dict(zip(measures, zip(lows.tolist(), highs.tolist(), strict=True), strict=True))
    return SystemResult(run, means, intervals, per_query)


def depth_needed(measures: Sequence[str], least: int) -> int:
    """How many hits a query needs for the measures' cuts, and `least`."""
    return max([least, *(int(cut) for _, _, cut in (m.rpartition("@") for m in measures) if cut.isdigit())])


def _add_answers(data: RetrievalData, run: Run, cuts: Mapping[str, int], per_query: PerQuery) -> None:
    found = {document for query in data.answers for document in run.get(query, {}) if document in data.corpus}
    ranks = answer_ranks(run, data.answers, {document: data.body(document) for document in found}, max(cuts.values()))
    for query, values in per_query.items():
        rank = ranks.get(query)
        for measure, cut in cuts.items():
            values[measure] = float(rank is not None and rank <= cut)


def _compare(
    data_set: str, result: SystemResult, reference: SystemResult, system: str, baseline: str, measure: str
) -> Comparison:
    queries = list(result.per_query)
    gains = values_of(result.per_query, measure, queries) - values_of(reference.per_query, measure, queries)
    low, high = bootstrap_intervals(gains)
    p_value = randomisation_test(gains)
    return Comparison(
        data_set=data_set,
        system=system,
        baseline=baseline,
        measure=measure,
        difference=float(gains.mean()),
        interval=(float(low), float(high)),
        p_value=p_value,
        p_holm=p_value,
        wins=int((gains > 0).sum()),
        losses=int((gains < 0).sum()),
        ties=int((gains == 0).sum()),
    )
