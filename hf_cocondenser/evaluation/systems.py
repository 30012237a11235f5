"""Several systems on several data sets: measures with intervals, and paired comparisons with a baseline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.answers import answer_ranks
from hf_cocondenser.evaluation.measures import DEFAULT_MEASURES, PerQuery, evaluate_run, values_of
from hf_cocondenser.evaluation.significance import bootstrap_intervals, holm, randomisation_test
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.runs import Run, without_same_ids

Interval = tuple[float, float]

_ANSWER = re.compile(r"answer@(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class SystemResult:
    """One system on one data set: its run, means with 95 % intervals over queries, and values query by query."""

    run: Run
    means: dict[str, float]
    intervals: dict[str, Interval]
    per_query: PerQuery


@dataclass
class Comparison:
    """A system against the baseline on one data set by one measure.

    Attributes:
        difference: mean over queries of system minus baseline.
        interval: its paired 95 % bootstrap interval.
        p_value: of the two-sided paired randomisation test.
        p_holm: the same, corrected for the number of data sets.
        wins, losses, ties: queries on which the system is better, worse, equal.
    """

    data_set: str
    system: str
    baseline: str
    measure: str
    difference: float
    interval: Interval
    p_value: float
    p_holm: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Evaluation:
    """All that was measured.

    Attributes:
        measures: in the order asked for; the first is the main one.
        baseline: the system that the others are compared with.
        data: the data sets by name.
        results: data set -> system -> result.
        comparisons: of every system but the baseline, by every measure.
    """

    measures: tuple[str, ...]
    baseline: str
    data: dict[str, RetrievalData]
    results: dict[str, dict[str, SystemResult]]
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def systems(self) -> list[str]:
        """Names of all systems, the baseline first."""
        names = dict.fromkeys(name for systems in self.results.values() for name in systems)
        return [self.baseline, *(name for name in names if name != self.baseline)]


def evaluate_systems(
    data_sets: Sequence[RetrievalData],
    runs: Mapping[str, Mapping[str, Run]],
    *,
    baseline: str,
    measures: Sequence[str] = DEFAULT_MEASURES,
) -> Evaluation:
    """Measure runs and compare every system with the baseline.

    Args:
        data_sets: with different names.
        runs: data set name -> system name -> run; every system on every data set.
        baseline: one of the systems.
        measures: trec_eval's by the names of `evaluate_run`, and DPR's Answer@k where the data have answers.

    Raises:
        InputError: two data sets have one name, or a measure is unknown or cannot be had.
    """
    require_distinct_names(data_sets)
    results = {
        data.name: {name: measure_run(data, run, measures) for name, run in runs[data.name].items()}
        for data in data_sets
    }
    evaluation = Evaluation(tuple(measures), baseline, {data.name: data for data in data_sets}, results)
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


def require_distinct_names(data_sets: Sequence[RetrievalData]) -> None:
    """Check that the tables can tell the data sets apart.

    Raises:
        InputError: two data sets have one name.
    """
    names = [data.name for data in data_sets]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Two data sets are called '{name}'; rename one of the folders.")


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
        raise InputError(f"'{data.name}' has answers but no judgements, so only Answer@k can be measured on it.")
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
    return max(
        [least, *(int(measure.rpartition("@")[2]) for measure in measures if measure.rpartition("@")[2].isdigit())]
    )


def _add_answers(data: RetrievalData, run: Run, cuts: Mapping[str, int], per_query: PerQuery) -> None:
    bodies = _Bodies(data)
    ranks = answer_ranks(run, data.answers, bodies, max(cuts.values()))
    for query, values in per_query.items():
        rank = ranks.get(query)
        for measure, cut in cuts.items():
            values[measure] = float(rank is not None and rank <= cut)


class _Bodies(dict[str, str]):
    """Document id -> text without its title, looked up when asked for; nothing where the corpus does not hold it."""

    def __init__(self, data: RetrievalData) -> None:
        super().__init__()
        self._data = data

    def __missing__(self, document: str) -> str:
        return self._data.body(document) if document in self._data.corpus else ""


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
