"""What a person reads at the end: the table, the loss curves, a few answers, and how to go on."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_cocondenser.quickstart.evaluation import MEASURES, Figures, Result
from hf_cocondenser.quickstart.training import Training
from hf_cocondenser.retrieval.runs import Run, ranked
from hf_cocondenser.utils.tables import markdown_table, with_interval

LOSSES = {
    "loss": "loss",
    "contrastive_loss": "contrastive",
    "head_mlm_loss": "MLM, head",
    "late_mlm_loss": "MLM, late",
}


def format_table(results: Sequence[Result]) -> str:
    """The results as a Markdown table, means with their 95 % intervals."""
    rows = [["", *MEASURES]]
    rows += [[result.name, *(_with_interval(result.figures[m], "") for m in MEASURES)] for result in results]
    return markdown_table(rows)


def format_differences(differences: Mapping[str, Figures]) -> str:
    """One line per comparison: mean difference and its paired interval for each measure."""
    lines = []
    for name, gains in differences.items():
        parts = [f"{m} {_with_interval(figure, '+')}" for m, figure in gains.items()]
        lines.append(f"- {name}: {', '.join(parts)}")
    return "\n".join(lines)


def _with_interval(figure: Mapping[str, Any], sign: str) -> str:
    return with_interval(figure["mean"], figure["interval"], sign=sign, digits=3)


def format_answers(queries: Mapping[str, str], run: Run, corpus: Mapping[str, str], shown: int = 3) -> str:
    """The first documents of each query, with the beginning of their texts."""
    lines = []
    for query, text in queries.items():
        lines.append(f"? {text}")
        for document, _ in ranked(run[query], shown):
            beginning = textwrap.shorten(corpus[document], 90, placeholder=" ...")
            lines.append(f"    {document}: {beginning}")
    return "\n".join(lines)


def closing_words(
    folder: Path,
    results: Sequence[Result],
    differences: Mapping[str, Figures],
    answers: str,
    record: Mapping[str, Any],
) -> str:
    """All of it as one Markdown page."""
    counts = record["collection"]
    trainings = "\n".join(
        f"- {name}: {', '.join(f'{number:,} {unit}' for unit, number in values.items())}"
        for name, values in record["trainings"].items()
    ).replace("_", " ")
    return f"""# Quickstart

{counts["documents"]:,} texts, {counts["train_queries"]:,} training queries; {counts["test_queries"]:,} test queries of
modules or documents whose queries training never saw. Means with 95 % bootstrap intervals over queries; seed {record["seed"]},
{record["device"]}, {record["seconds"]:.0f} seconds.

{format_table(results)}

Differences, with paired intervals:

{format_differences(differences)}

Trainings (losses.png):

{trainings}

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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(name, {LOSSES[key]: curve(stage, key) for key in LOSSES}) for name, stage in stages.items()]
    panels.append(("fine-tuning", {name: curve(training, "loss") for name, training in finetunings.items()}))
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, (steps, values) in curves.items():
            if steps:
                axes.plot(steps, values, label=name)
        axes.set(title=title, xlabel="step", ylabel="loss")
        if axes.lines:
            axes.legend()
    figure.savefig(path, dpi=120)


def curve(training: Training, key: str) -> tuple[list[float], list[float]]:
    """The steps and values of one logged number."""
    lines = [line for line in training.log if key in line]
    return [line["step"] for line in lines], [float(line[key]) for line in lines]
