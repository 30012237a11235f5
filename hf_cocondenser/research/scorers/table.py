"""One table of what a scorer finds, what a query costs and what a document takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hf_cocondenser.evaluation.evaluation import Evaluation, Kind
from hf_cocondenser.evaluation.report import write_evaluation
from hf_cocondenser.evaluation.systems import evaluate_systems
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.runs import Run
from hf_cocondenser.utils.distributed import training_device
from hf_cocondenser.utils.files import write_json, write_text
from hf_cocondenser.utils.tables import markdown_table, with_interval

MEASURES = ("nDCG@10", "Recall@100")


@dataclass(frozen=True)
class Row:
    """A system: its name, what it ranked, its run, milliseconds per query, bytes per document, and what it was timed on."""

    name: str
    ranked: str
    run: Run
    milliseconds: float
    size: float
    machine: str

    @property
    def title(self) -> str:
        """The name in the report, where a system has one per way of ranking."""
        return self.name if self.ranked == "the corpus" else f"{self.name} ({self.ranked})"


def write_comparison(folder: Path, data: RetrievalData, rows: Sequence[Row], settings: Mapping[str, Any]) -> str:
    """Measure the rows, write `report/`, comparison.json and comparison.md, and return the latter's text.

    The first row is what the report compares the others with.
    """
    kinds: dict[str, Kind] = {row.title: "bm25" if row is rows[0] else "retriever" for row in rows}
    evaluation = evaluate_systems(
        [data],
        {data.name: {row.title: row.run for row in rows}},
        baseline=rows[0].title,
        measures=MEASURES,
        kinds=kinds,
        settings=settings,
    )
    write_evaluation(evaluation, folder / "report", overwrite=True)
    text = f"{_head(data)}\n\n{_table(rows, evaluation, data.name)}\n\n{_explanation(rows)}\n"
    results = evaluation.results[data.name]
    write_json(
        folder / "comparison.json",
        {
            "data": {
                "name": data.name,
                "split": data.split,
                "queries": len(data.queries),
                "documents": len(data.corpus),
            },
            "settings": dict(settings),
            "rows": [
                {
                    "name": row.name,
                    "ranked": row.ranked,
                    "means": results[row.title].means,
                    "intervals": results[row.title].intervals,
                    "milliseconds_per_query": row.milliseconds,
                    "bytes_per_document": row.size,
                    "timed_on": row.machine,
                }
                for row in rows
            ],
        },
    )
    write_text(folder / "comparison.md", text)
    return text


def _head(data: RetrievalData) -> str:
    return f"## {data.name} ({data.split}: {len(data.queries):,} queries, {len(data.corpus):,} documents)"


def _table(rows: Sequence[Row], evaluation: Evaluation, data: str) -> str:
    table = [["System", "ranks", *MEASURES, "ms per query", "bytes per document"]]
    for row in rows:
        result = evaluation.results[data][row.title]
        figures = [with_interval(result.means[m], result.intervals[m]) for m in MEASURES]
        table.append([row.name, row.ranked, *figures, f"{row.milliseconds:.1f}", f"{row.size:,.0f}"])
    return markdown_table(table)


def machine() -> str:
    """What a step's times are measured on here."""
    return f"{torch.get_num_threads()} threads{'' if training_device().type == 'cpu' else ', GPU'}"


def _explanation(rows: Sequence[Row]) -> str:
    machines = {row.name: row.machine for row in rows}
    same = len(set(machines.values())) == 1
    on = rows[0].machine if same else "not the same for all: " + "; ".join(f"{n}: {m}" for n, m in machines.items())
    return (
        "Means over the judged queries with 95 % bootstrap intervals. Time: the median of queries asked one by one, their"
        f" encoding included, the search for candidates not, with everything in memory"
        f" ({on}). Bytes: four per number, and four per token where a scorer must"
        " know which token a vector is of."
    )
