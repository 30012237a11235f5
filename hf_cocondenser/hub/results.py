"""Measured results of a model card: from a list in the folder, or from what `evaluate` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import read_json

RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class Result:
    """A measured line of the results table.

    Attributes:
        dataset: data set and split.
        measures: values by name, such as `{"nDCG@10": 0.65}`.
        system: what was measured; empty for the model of the card.
        queries: how many were averaged over.
        intervals: 95 % intervals of the measures, where they are known.
    """

    dataset: str
    measures: Mapping[str, float]
    system: str = ""
    queries: int | None = None
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)


def read_results(path: Path) -> list[Result]:
    """Read results; an absent file is an empty list.

    Args:
        path: a JSON list of objects with the fields of `Result`, or the `results.json` of an evaluation.

    Raises:
        InputError: it is something else, or an evaluation of several retrievers.
    """
    if not path.is_file():
        return []
    content = read_json(path)
    try:
        if isinstance(content, list):
            return [Result(**row) for row in content]
        return _of_evaluation(content, path)
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"'{path}' is neither an evaluation nor a list of results with dataset, measures, system and queries "
            f"({type(error).__name__}: {error})."
        ) from None


def results_table(results: Sequence[Result]) -> str:
    """The results as a Markdown table, an empty text when there are none."""
    if not results:
        return ""
    measures = list(dict.fromkeys(name for result in results for name in result.measures))
    rows = [["Data set", "Queries", "System", *measures], ["---"] * 3 + ["---:"] * len(measures)]
    for result in results:
        values = [_value(result, name) for name in measures]
        rows.append([result.dataset, str(result.queries or ""), result.system or "this model", *values])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _value(result: Result, measure: str) -> str:
    if measure not in result.measures:
        return ""
    text = f"{result.measures[measure]:.4f}"
    if measure in result.intervals:
        low, high = result.intervals[measure]
        text += f" [{low:.3f}, {high:.3f}]"
    return text


def _of_evaluation(content: dict[str, Any], path: Path) -> list[Result]:
    systems = {name for data in content["data_sets"].values() for name in data["systems"]}
    own = sorted(name for name in systems if not name.startswith(("BM25", "hybrid (")))
    if len(own) != 1:
        raise InputError(f"'{path}' evaluates {', '.join(own) or 'no retriever'}; a card wants the evaluation of one.")
    names = {own[0]: ""} | {name: "hybrid with BM25" for name in systems if name.startswith("hybrid (")}
    return [
        Result(
            dataset=f"{name} ({data['split']})",
            measures=figures["means"],
            system=names.get(system, system),
            queries=data["counts"]["queries"],
            intervals=figures["intervals"],
        )
        for name, data in content["data_sets"].items()
        for system, figures in data["systems"].items()
    ]
