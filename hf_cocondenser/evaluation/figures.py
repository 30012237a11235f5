"""The pictures of an evaluation report."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_cocondenser.evaluation.evaluation import Evaluation
from hf_cocondenser.evaluation.lengths import Lengths
from hf_cocondenser.evaluation.measures import values_of

COLOURS = ("#9aa5b1", "#2f6db5", "#d9822b", "#3a9d6e", "#b5476b", "#7a5cc0")


def plot_measure(evaluation: Evaluation, path: Path) -> None:
    """Bars of the main measure with 95 % intervals, grouped by data set."""
    measure, systems, data_sets = evaluation.measures[0], evaluation.systems, list(evaluation.results)
    figure, axes = new_figure(width=2.5 + 0.6 * len(systems) * len(data_sets), height=3.6)
    width = 0.8 / len(systems)
    for number, system in enumerate(systems):
        found = [evaluation.results[name][system] for name in data_sets]
        means = np.array([result.means[measure] for result in found])
        ends = np.array([result.intervals[measure] for result in found]).T
        places = np.arange(len(data_sets)) + (number - (len(systems) - 1) / 2) * width
        axes.bar(places, means, width * 0.92, color=COLOURS[number % len(COLOURS)], label=system)
        axes.errorbar(places, means, np.abs(ends - means), fmt="none", ecolor="#333333", capsize=3, linewidth=1)
        for place, mean, high in zip(places, means, ends[1], strict=True):
            axes.text(place, high + 0.01, f"{mean:.3f}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(data_sets)), data_sets)
    axes.set_ylabel(measure)
    axes.margins(y=0.12)
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    save_figure(figure, path)


def plot_wins_and_losses(evaluation: Evaluation, data_set: str, path: Path) -> None:
    """Every query's difference from the baseline by the main measure, sorted, one panel for each system."""
    measure, others = evaluation.measures[0], evaluation.systems[1:]
    results = evaluation.results[data_set]
    queries = list(results[evaluation.baseline].per_query)
    reference = values_of(results[evaluation.baseline].per_query, measure, queries)
    figure, axes = new_figure(width=4.2 * max(1, len(others)), height=3.2, columns=max(1, len(others)))
    for panel, system in zip(np.atleast_1d(axes), others, strict=False):
        gains = np.sort(values_of(results[system].per_query, measure, queries) - reference)[::-1]
        # Filled steps, not one bar for each query: there may be thousands.
        places = np.arange(len(gains))
        panel.fill_between(places, gains, where=gains >= 0, step="mid", color=COLOURS[3])
        panel.fill_between(places, gains, where=gains <= 0, step="mid", color=COLOURS[4])
        panel.axhline(0, color="#333333", linewidth=0.8)
        wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
        panel.set_title(f"{system}\nbetter on {wins}, worse on {losses} of {len(gains)} queries", fontsize=9)
        panel.set_xlabel("queries, sorted")
    np.atleast_1d(axes)[0].set_ylabel(f"difference in {measure}")
    save_figure(figure, path)


def plot_lengths(lengths: Sequence[Lengths], data_set: str, path: Path) -> None:
    """Boxes of document lengths: corpus, relevant documents, and each system's first hits."""
    boxes = [
        {
            "label": textwrap.fill(group.group, 32),
            "mean": group.mean,
            "whislo": group.percentiles[0],
            "q1": group.percentiles[1],
            "med": group.percentiles[2],
            "q3": group.percentiles[3],
            "whishi": group.percentiles[4],
        }
        for group in lengths
    ]
    figure, axes = new_figure(width=8, height=1.1 + 0.5 * len(boxes))
    axes.bxp(boxes, showfliers=False, showmeans=True, orientation="horizontal")
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.set_xlabel("words (box: quartiles; whiskers: 5 % and 95 %; triangle: mean)", fontsize=8)
    figure.suptitle(f"{data_set}: length of documents in the top 10", fontsize=9)
    save_figure(figure, path)


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """A figure of so many inches and its axes, side by side."""
    # Figure without pyplot: no global state, no window system.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(max(width, 5), 24), height), layout="constrained")
    axes = figure.subplots(1, columns, sharey=True)
    for panel in np.atleast_1d(axes):
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=130)
