"""Comparing runs, whoever made them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.evaluation import Evaluation
from hf_cocondenser.evaluation.measures import DEFAULT_MEASURES, check_measures
from hf_cocondenser.evaluation.report import write_evaluation
from hf_cocondenser.evaluation.systems import evaluate_systems
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.loading import DataSource, load_data_sets, one_or_many
from hf_cocondenser.retrieval.runs import Run, as_run, is_run, read_run
from hf_cocondenser.utils.distributed import alone_in_its_folder
from hf_cocondenser.utils.files import file_name, require_new_folder

logger = logging.getLogger(__name__)

RunSource = str | Path | Run


@alone_in_its_folder
def compare_runs(
    runs: RunSource | Sequence[RunSource] | Mapping[str, RunSource],
    data: DataSource | Sequence[DataSource],
    output_dir: str | Path | None = None,
    *,
    split: str | None = None,
    measures: str | Sequence[str] = DEFAULT_MEASURES,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Measure runs and compare them with the first.

    Args:
        runs: TREC run files, or folders that hold DATA.trec for every data set, or dicts query id -> document id ->
            score; one or several (a dict of runs gives them names); the first is the baseline.
        data: the judged collections that the runs are of, or files of judgements (qrels); several where runs are folders.
        output_dir: new folder for the report (default: nothing is written).
        split: judgements to use (default: each data set's own, mostly test).
        measures: nDCG@k, MRR@k, Recall@k, MAP, Success@k, P@k, Answer@k; the first is drawn.
        names: what to call the runs (default: their file names).
        overwrite: replace the output folder.

    Raises:
        InputError: something named is not there or does not fit.

    Example:
        >>> found = compare_runs({"mine": {"q": {"d1": 2.0, "d2": 1.0}}}, RetrievalData.from_dicts(
        ...     {"d1": "bread", "d2": "whales"}, {"q": "who sings?"}, {"q": {"d2"}}), measures=["MRR@10"])
        >>> found.means
        {'data': {'mine': {'MRR@10': 0.5}}}
    """
    sources: list[Any]
    if isinstance(runs, Mapping) and not is_run(runs):
        names, sources = names or list(map(str, runs)), list(runs.values())
    else:
        sources = one_or_many(runs)
    if not sources:
        raise InputError("There is no run to measure; name at least one.")
    if output_dir is not None:
        require_new_folder(output_dir, overwrite, reads=[*sources, *one_or_many(data)])
    measures = check_measures(measures)
    names = list(names) if names else _names(sources)
    if len(names) != len(sources) or len(set(names)) != len(names):
        raise InputError(
            f"There are {len(sources)} runs and the names {', '.join(names)}; give each run a name of its own."
        )
    data_sets = load_data_sets(data, split or "auto", judgements_only=True)
    found = {
        d.name: {n: _read(run, d, len(data_sets)) for n, run in zip(names, sources, strict=True)} for d in data_sets
    }
    evaluation = evaluate_systems(data_sets, found, baseline=names[0], measures=measures)
    write_evaluation(evaluation, output_dir, overwrite)
    return evaluation


def _read(source: Any, data: RetrievalData, data_sets: int) -> Run:
    if isinstance(source, Mapping):
        what, run = "One of the runs", as_run(source if is_run(source) else source.get(data.name, {}))
    else:
        what, path = f"The run '{source}'", Path(source)
        if path.is_dir():
            path = path / f"{file_name(data.name)}.trec"
        elif data_sets > 1:
            raise InputError(
                f"'{path}' is one run, but there are {data_sets} data sets; name a folder with a DATA.trec for each."
            )
        run = read_run(path)
    if not run.keys() & data.qrels.keys():
        raise InputError(f"{what} answers none of the judged queries of '{data.name}'.")
    unknown = {document for hits in run.values() for document in hits} - data.corpus.keys() if data.corpus else None
    if unknown:
        logger.warning(
            "%s names %s documents that '%s' does not hold, such as '%s'.",
            what,
            f"{len(unknown):,}",
            data.name,
            min(unknown),
        )
    return run


def _names(sources: Sequence[Any]) -> list[str]:
    """File names, with as many parent folders as tell them apart; "run 1", "run 2" ... of what is in memory."""
    paths = [None if isinstance(source, Mapping) else Path(source).resolve() for source in sources]
    parts = [
        f"run {n}" if p is None else (p if p.is_dir() else p.with_suffix("")).parts for n, p in enumerate(paths, 1)
    ]
    for number in range(1, 6):
        names = ["/".join(part[-number:]) if isinstance(part, tuple) else part for part in parts]
        if len(set(names)) == len(names):
            break
    return names
