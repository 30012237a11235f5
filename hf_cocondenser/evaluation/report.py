"""Writing an evaluation down: runs, values by query, JSON, Markdown, HTML with pictures."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hf_cocondenser.evaluation.figures import plot_lengths, plot_measure, plot_wins_and_losses
from hf_cocondenser.evaluation.lengths import Lengths, document_lengths
from hf_cocondenser.evaluation.systems import Comparison, Evaluation
from hf_cocondenser.retrieval.runs import write_run
from hf_cocondenser.utils.files import write_json, write_text

Table = list[list[str]]

_EXPLANATION = (
    "Means over all judged queries (a query without results counts 0) with 95 % bootstrap intervals over queries."
    " p: two-sided paired randomisation test over queries; Holm's correction is over the data sets."
)

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{border-bottom:1px solid #ddd;padding:.3em .8em;text-align:left}
th{border-bottom:2px solid #888}img{max-width:100%}"""


def write_report(folder: Path, evaluation: Evaluation, *, settings: Mapping[str, Any] | None = None) -> None:
    """Write everything into an existing, empty folder.

        runs/SYSTEM/DATA.trec   per_query/DATA.json   results.json   report.md   report.html   figures/*.png

    Args:
        folder: where.
        evaluation: what was measured.
        settings: how the runs were made, for results.json.
    """
    lengths: dict[str, list[Lengths]] = {}
    for name, systems in evaluation.results.items():
        for system, result in systems.items():
            place = folder / "runs" / file_name(system)
            place.mkdir(parents=True, exist_ok=True)
            write_run(place / f"{file_name(name)}.trec", result.run, tag=file_name(system))
        lengths[name] = document_lengths(evaluation.data[name], {s: result.run for s, result in systems.items()})
    _write_values(folder, evaluation, lengths, settings or {})
    figures = _draw(folder / "figures", evaluation, lengths)
    write_text(folder / "report.md", f"# Evaluation\n\n{markdown(evaluation, lengths)}\n")
    write_text(folder / "report.html", _html(evaluation, lengths, figures))


def markdown(evaluation: Evaluation, lengths: dict[str, list[Lengths]] | None = None) -> str:
    """The tables of an evaluation in Markdown."""
    parts = [f"## {title}\n\n{markdown_table(table)}" for title, table in _tables(evaluation, lengths or {})]
    return "\n\n".join([*parts, _EXPLANATION])


def markdown_table(table: Table) -> str:
    """A table in Markdown, its columns aligned; the first row is the head."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def file_name(name: str) -> str:
    """A name made fit for a file: `BM25 (bm25s lucene ...)` -> `BM25-bm25s-lucene-...`."""
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.") or "unnamed"


def _tables(evaluation: Evaluation, lengths: dict[str, list[Lengths]]) -> list[tuple[str, Table]]:
    tables = []
    for name, systems in evaluation.results.items():
        data = evaluation.data[name]
        table = [["System", *evaluation.measures]]
        for system in evaluation.systems:
            result = systems[system]
            cells = [
                f"{result.means[m]:.4f} [{result.intervals[m][0]:.3f}, {result.intervals[m][1]:.3f}]"
                for m in evaluation.measures
            ]
            table.append([system, *cells])
        title = f"{name} ({data.split}: {len(data.qrels):,} queries, {len(data.corpus):,} documents)"
        tables.append((title, table))
    if len(evaluation.results) > 1:
        tables.append((f"Mean of {len(evaluation.results)} data sets", _mean_table(evaluation)))
    if evaluation.comparisons:
        tables.append((f"Against {evaluation.baseline}", _comparison_table(evaluation.comparisons)))
    for name, groups in lengths.items():
        table = [["Documents", "Mean words", "Median", "5 % to 95 %"]]
        table += [
            [g.group, f"{g.mean:.0f}", f"{g.percentiles[2]:.0f}", f"{g.percentiles[0]:.0f} to {g.percentiles[4]:.0f}"]
            for g in groups
        ]
        tables.append((f"{name}: length of the retrieved top 10", table))
    return tables


def _mean_table(evaluation: Evaluation) -> Table:
    table = [["System", *evaluation.measures]]
    for system in evaluation.systems:
        found = [systems[system] for systems in evaluation.results.values()]
        means = [sum(result.means[m] for result in found) / len(found) for m in evaluation.measures]
        table.append([system, *(f"{mean:.4f}" for mean in means)])
    return table


def _comparison_table(comparisons: Sequence[Comparison]) -> Table:
    table = [["Data set", "System", "Measure", "Difference", "p", "p (Holm)", "Better/worse/equal"]]
    for c in comparisons:
        difference = f"{c.difference:+.4f} [{c.interval[0]:+.3f}, {c.interval[1]:+.3f}]"
        counts = f"{c.wins}/{c.losses}/{c.ties}"
        table.append([c.data_set, c.system, c.measure, difference, _p(c.p_value), _p(c.p_holm), counts])
    return table


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _write_values(
    folder: Path, evaluation: Evaluation, lengths: dict[str, list[Lengths]], settings: Mapping[str, Any]
) -> None:
    (folder / "per_query").mkdir()
    summary: dict[str, Any] = {}
    for name, systems in evaluation.results.items():
        data = evaluation.data[name]
        queries = {query: {s: result.per_query[query] for s, result in systems.items()} for query in data.qrels}
        write_json(folder / "per_query" / f"{file_name(name)}.json", queries)
        summary[name] = {
            "split": data.split,
            "counts": data.counts,
            "protocol": asdict(data.protocol),
            "systems": {s: {"means": r.means, "intervals": r.intervals} for s, r in systems.items()},
            "document_lengths_top_10": [asdict(group) for group in lengths[name]],
        }
    write_json(
        folder / "results.json",
        {
            "settings": dict(settings),
            "measures": list(evaluation.measures),
            "baseline": evaluation.baseline,
            "data_sets": summary,
            "comparisons": [asdict(comparison) for comparison in evaluation.comparisons],
        },
    )


def _draw(folder: Path, evaluation: Evaluation, lengths: dict[str, list[Lengths]]) -> list[tuple[str, Path]]:
    folder.mkdir()
    figures = [(evaluation.measures[0], folder / "measure.png")]
    plot_measure(evaluation, figures[0][1])
    for name in evaluation.results:
        if evaluation.comparisons:
            figures.append((f"{name}: query by query", folder / f"wins-{file_name(name)}.png"))
            plot_wins_and_losses(evaluation, name, figures[-1][1])
        figures.append((f"{name}: document lengths", folder / f"lengths-{file_name(name)}.png"))
        plot_lengths(lengths[name], name, figures[-1][1])
    return figures


def _html(evaluation: Evaluation, lengths: dict[str, list[Lengths]], figures: list[tuple[str, Path]]) -> str:
    """One page with the pictures inside, so that it can be sent as it is."""
    body = []
    for title, table in _tables(evaluation, lengths):
        head, *rows = [[html.escape(cell) for cell in row] for row in table]
        body.append(f"<h2>{html.escape(title)}</h2><table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>")
        body += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
        body.append("</table>")
    body.append(f"<p>{html.escape(_EXPLANATION)}</p>")
    for title, path in figures:
        picture = base64.b64encode(path.read_bytes()).decode()
        text = html.escape(title)
        body.append(f'<h2>{text}</h2><img alt="{text}" src="data:image/png;base64,{picture}">')
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style>'
        f"<h1>Evaluation</h1>{''.join(body)}</html>\n"
    )
