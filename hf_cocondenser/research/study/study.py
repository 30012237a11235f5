"""`study`: train the cells, answer the questions, write tables and plots."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hf_cocondenser.evaluation.figures import COLOURS, new_figure, save_figure
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import finetune_options
from hf_cocondenser.research.study.cells import StudyCells, corpus_words
from hf_cocondenser.research.study.plan import StudyConfig, plan_cells
from hf_cocondenser.research.study.questions import Answer, Measured, answers
from hf_cocondenser.utils.distributed import alone_in_its_folder, processes
from hf_cocondenser.utils.files import require_new_folder, write_text
from hf_cocondenser.utils.tables import markdown_table

logger = logging.getLogger(__name__)

_CELLS = "cells"
_EXPLANATION = (
    "Means over queries with 95 % bootstrap intervals; a mean over several data sets draws each one's queries anew."
    " Differences are paired, query by query. GTR: both stages; GTR-FT: the judged queries alone; GTR-PT: the pairs alone."
    " The intervals are over queries; training again with another seed is not in them."
)


@alone_in_its_folder
def run_study(
    models: Sequence[str],
    data: str | Path,
    output_dir: str | Path,
    config: StudyConfig,
    args: RetrieverTrainingArguments | None = None,
    mining: MiningConfig | None = None,
    pairs: PairsConfig | None = None,
    development: DevelopmentConfig | None = None,
    *,
    overwrite: bool = False,
) -> str:
    """Train every model on all and on shares of the data, with and without either stage, and measure on all data sets.

    Writes `report.md`, and for each question NAME.md and NAME.png. Every finished cell is kept in `cells/`; the same
    call again goes on where it stopped.

    Args:
        models: checkpoints, or `t5:LAYERSxHIDDEN`.
        data: BEIR folder to train on.
        output_dir: where to.
        config: what to compare and to measure on.
        args, mining, pairs, development: how every cell is trained; GTR's recipe by default.
        overwrite: do cells again whose inputs changed.

    Returns:
        The report in Markdown.

    Raises:
        InputError: something named is not there or does not fit.
    """
    pairs = pairs or PairsConfig()
    plan = plan_cells(models, config, bool(pairs.pairs))
    output_dir = Path(output_dir)
    if processes().is_main_process and not (output_dir / _CELLS).is_dir():
        require_new_folder(output_dir, overwrite)
    cells = StudyCells(
        data,
        output_dir / _CELLS,
        config,
        args or finetune_options("gtr").args,
        mining or MiningConfig(),
        pairs,
        development or DevelopmentConfig(),
        overwrite,
    )
    cells.folder.mkdir(parents=True, exist_ok=True)
    logger.info("%d retrievers are to be trained, %d data sets to be measured on.", len(plan), len(cells.evaluation))
    bm25, found, parameters = cells.measure_bm25(), {}, {}
    for number, cell in enumerate(plan, start=1):
        logger.info("Cell %d of %d: %s.", number, len(plan), cell.name)
        found[cell], parameters[cell.model] = cells.train_and_measure(cell)
    words = {name: corpus_words(loaded) for name, loaded in cells.evaluation.items()}
    measured = Measured(models, found, bm25, parameters, cells.in_domain, words)
    parts = [f"# Study: {', '.join(models)}, trained on {cells.train.name}"]
    for answer in answers(measured, config.main_measure):
        table = f"## {answer.title}\n\n{markdown_table(answer.table)}\n"
        parts.append(f"{table}\n![{answer.title}]({answer.name}.png)")
        if processes().is_main_process:
            write_text(output_dir / f"{answer.name}.md", table)
            plot(answer, output_dir / f"{answer.name}.png")
    report = "\n\n".join([*parts, _EXPLANATION]) + "\n"
    if processes().is_main_process:
        write_text(output_dir / "report.md", report)
    return report


def plot(answer: Answer, path: Path) -> None:
    """Draw an answer: points with intervals, a panel for each domain."""
    panels = answer.panels
    wide = max(len(series) for series in panels.values()) * len(answer.categories)
    figure, axes = new_figure(width=len(panels) * (1.5 + 0.35 * wide), height=3.8, columns=len(panels))
    for axis, (title, series) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for number, (name, estimates) in enumerate(series.items()):
            shift = (number - (len(series) - 1) / 2) * 0.7 / len(series)
            points = [(place + shift, one) for place, one in enumerate(estimates) if one is not None]
            means = [one.mean for _, one in points]
            ends = [[one.mean - one.low for _, one in points], [one.high - one.mean for _, one in points]]
            colour = COLOURS[number % len(COLOURS)] if len(series) > 1 else COLOURS[1]
            places = [place for place, _ in points]
            axis.errorbar(places, means, np.maximum(ends, 0), fmt="o", capsize=3, color=colour, label=name)
        if title in answer.lines:
            axis.axhline(answer.lines[title], color="#555555", linestyle="--", linewidth=1)
            if answer.lines[title]:
                axis.text(-0.45, answer.lines[title], "BM25", va="bottom", fontsize=8)
        axis.set_xticks(range(len(answer.categories)), answer.categories, fontsize=8)
        axis.set_xlim(-0.5, len(answer.categories) - 0.5)
        if len(panels) > 1:
            axis.set_title(title, fontsize=9)
        if len(series) > 1:
            axis.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)
    np.atleast_1d(axes)[0].set_ylabel(answer.label)
    save_figure(figure, path)
