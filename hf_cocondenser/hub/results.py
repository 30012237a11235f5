"""Measured results of a model card: from a list in the folder, or from what `evaluate` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import read_json
from hf_cocondenser.utils.tables import markdown_table, with_interval

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
        results = [Result(**row) for row in content] if isinstance(content, list) else _of_evaluation(content, path)
        results_table(results)  # fails where a measure is no number
        return results
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InputError(
            f"'{path}' is neither an evaluation nor a list of results with dataset, measures, system and queries "
            f"({type(error).__name__}: {error})."
        ) from None


def results_table(results: Sequence[Result]) -> str:
    """The results as a Markdown table, an empty text when there are none."""
    if not results:
        return ""
    measures = list(dict.fromkeys(name for result in results for name in result.measures))
    rows = [["Data set", "Queries", "System", *measures]]
    for result in results:
        values = [_value(result, name) for name in measures]
        rows.append([result.dataset, str(result.queries or ""), result.system or "this model", *values])
    return markdown_table(rows)


def _value(result: Result, measure: str) -> str:
    if measure not in result.measures:
        return ""
    mean = result.measures[measure]
    return with_interval(mean, result.intervals[measure]) if measure in result.intervals else f"{mean:.4f}"


def _of_evaluation(content: dict[str, Any], path: Path) -> list[Result]:
    kinds = {
        name: system["kind"] for data in content["data_sets"].values() for name, system in data["systems"].items()
    }
    own = [name for name, kind in kinds.items() if kind == "retriever"]
    if len(own) != 1:
        raise InputError(f"'{path}' evaluates {', '.join(own) or 'no retriever'}; a card wants the evaluation of one.")
    names = {name: {"retriever": "", "hybrid": "hybrid with BM25"}.get(kind, name) for name, kind in kinds.items()}
    return [
        Result(
            dataset=f"{name} ({data['split']})",
            measures=figures["means"],
            system=names[system],
            queries=data["counts"]["queries"],
            intervals=figures["intervals"],
        )
        for name, data in content["data_sets"].items()
        for system, figures in data["systems"].items()
    ]
