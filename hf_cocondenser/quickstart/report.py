"""What a person reads at the end: the table, the loss curves, a few answers, and how to go on."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_cocondenser.evaluation.figures import new_figure, save_figure
from hf_cocondenser.evaluation.measures import DEFAULT_MEASURES, PerQuery, evaluate_run, values_of
from hf_cocondenser.evaluation.significance import bootstrap_intervals
from hf_cocondenser.quickstart.training import Training
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.runs import Run, ranked
from hf_cocondenser.utils.tables import markdown_table, with_interval

LOSSES = {
    "loss": "loss",
    "contrastive_loss": "contrastive",
    "head_mlm_loss": "MLM, head",
    "late_mlm_loss": "MLM, late",
}
Figures = dict[str, dict[str, Any]]
"""Measure -> `mean` and its 95 % bootstrap `interval` [low, high]."""


@dataclass(frozen=True)
class Result:
    """One line of the table: a system's run, its means with intervals, and its values query by query."""

    name: str
    run: Run
    figures: Figures
    per_query: PerQuery


def measure(name: str, data: RetrievalData, run: Run) -> Result:
    """Measure a run on the judged queries."""
    _, per_query = evaluate_run(data.qrels, run, DEFAULT_MEASURES)
    return Result(name, run, _figures(_values(per_query)), per_query)


def differences_of(*pairs: tuple[Result, Result]) -> dict[str, Figures]:
    """How much better the first of each pair is than the second by each measure, query by query."""
    return {
        f"{one.name} - {other.name}": _figures(_values(one.per_query) - _values(other.per_query))
        for one, other in pairs
    }


def _values(per_query: PerQuery) -> np.ndarray:
    """The values (queries, measures)."""
    return np.stack([values_of(per_query, measure, sorted(per_query)) for measure in DEFAULT_MEASURES], axis=1)


def _figures(values: np.ndarray) -> Figures:
    columns = zip(DEFAULT_MEASURES, values.mean(axis=0).tolist(), bootstrap_intervals(values).T.tolist(), strict=True)
    return {name: {"mean": mean, "interval": interval} for name, mean, interval in columns}


def format_answers(queries: Mapping[str, str], run: Run, corpus: Mapping[str, str], shown: int = 3) -> str:
    """The first documents of each query, with the beginning of their texts."""
    lines = []
    for query, text in queries.items():
        lines.append(f"? {text}")
        for document, _ in ranked(run[query], shown):
            lines.append(f"    {document}: {textwrap.shorten(corpus[document], 90, placeholder=' ...')}")
    return "\n".join(lines)


def write_page(
    folder: Path,
    results: Sequence[Result],
    differences: Mapping[str, Figures],
    answers: str,
    record: Mapping[str, Any],
) -> str:
    """All of it as one Markdown page."""
    counts = record["collection"]
    rows = [["", *DEFAULT_MEASURES]]
    rows += [[r.name, *(with_interval(**r.figures[m], digits=3) for m in DEFAULT_MEASURES)] for r in results]
    gains = [
        f"- {name}: " + ", ".join(f"{m} {with_interval(**figure, sign='+', digits=3)}" for m, figure in gain.items())
        for name, gain in differences.items()
    ]
    trainings = [
        f"- {name}: {', '.join(f'{number:,} {unit}' for unit, number in values.items())}".replace("_", " ")
        for name, values in record["trainings"].items()
    ]
    newline = "\n"
    return f"""# Quickstart

{counts["documents"]:,} texts, {counts["train_queries"]:,} training queries; {counts["test_queries"]:,} test queries of
modules or documents whose queries training never saw. Means with 95 % bootstrap intervals over queries; seed {record["seed"]},
{record["device"]}, {record["seconds"]:.0f} seconds.

{markdown_table(rows)}

Differences, with paired intervals:

{newline.join(gains)}

Trainings (losses.png):

{newline.join(trainings)}

Some answers of the retriever:

{answers}

Ask it more, and go on with your own documents and queries:

    hf-cocondenser search {folder / "retriever"} --corpus {folder / "collection"} --query "parse a date"
    hf-cocondenser quickstart --corpus documents.jsonl --output-dir mine
    hf-cocondenser adapt cocondenser-tiny --documents documents.jsonl --output-dir adapted
    hf-cocondenser finetune {folder / "cocondenser"} --data beir-folder --output-dir retriever
    hf-cocondenser evaluate retriever --data beir-folder --output-dir evaluation
"""


def plot_losses(path: Path, stages: Mapping[str, Training], finetunings: Mapping[str, Training]) -> None:
    """Draw the losses of the pre-training stages and of the fine-tunings as a PNG."""
    panels = {name: {LOSSES[key]: stage.curve(key) for key in LOSSES} for name, stage in stages.items()}
    panels["fine-tuning"] = {name: training.curve("loss") for name, training in finetunings.items()}
    figure, all_axes = new_figure(width=5 * len(panels), height=4, columns=len(panels))
    for axes, (title, curves) in zip(np.atleast_1d(all_axes), panels.items(), strict=True):
        for name, (steps, values) in curves.items():
            if steps:
                axes.plot(steps, values, label=name)
        axes.set(title=title, xlabel="step", ylabel="loss")
        if axes.lines:
            axes.legend()
    save_figure(figure, path)
