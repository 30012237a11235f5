"""Writing an evaluation down: runs, values by query, JSON, Markdown, HTML with pictures."""

from __future__ import annotations

import base64
import html
from dataclasses import asdict
from pathlib import Path

from hf_cocondenser.evaluation.evaluation import EXPLANATION, Evaluation
from hf_cocondenser.evaluation.figures import plot_lengths, plot_measure, plot_wins_and_losses
from hf_cocondenser.evaluation.lengths import Lengths, document_lengths
from hf_cocondenser.retrieval.runs import write_run
from hf_cocondenser.utils.files import file_name, output_folder, write_json, write_text
from hf_cocondenser.utils.tables import Table, markdown_table

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{border-bottom:1px solid #ddd;padding:.3em .8em;text-align:left}
th{border-bottom:2px solid #888}img{max-width:100%}"""


def write_evaluation(evaluation: Evaluation, output_dir: str | Path | None, overwrite: bool = False) -> None:
    """Write a report as a whole folder; None writes nothing."""
    if output_dir is not None:
        with output_folder(output_dir, overwrite) as folder:
            write_report(folder, evaluation)


def write_report(folder: Path, evaluation: Evaluation) -> None:
    """Write everything into an existing, empty folder.

    runs/SYSTEM/DATA.trec   per_query/DATA.json   results.json   report.md   report.html   figures/*.png

    Args:
        folder: where.
        evaluation: what was measured.
    """
    (folder / "per_query").mkdir()
    figures = evaluation.to_dict()
    lengths: dict[str, list[Lengths]] = {}
    for name, runs in evaluation.runs.items():
        data = evaluation.data[name]
        for system, run in runs.items():
            place = folder / "runs" / file_name(system)
            place.mkdir(parents=True, exist_ok=True)
            write_run(place / f"{file_name(name)}.trec", run, tag=file_name(system))
        values = evaluation.per_query[name]
        by_query = {query: {system: values[system][query] for system in runs} for query in data.qrels}
        write_json(folder / "per_query" / f"{file_name(name)}.json", by_query)
        if data.corpus:
            lengths[name] = document_lengths(data, runs)
            figures["data_sets"][name]["document_lengths_top_10"] = [asdict(group) for group in lengths[name]]
    write_json(folder / "results.json", figures)
    tables = [*evaluation.tables(), *(_length_table(name, groups) for name, groups in lengths.items())]
    parts = [f"## {title}\n\n{markdown_table(table)}" for title, table in tables]
    write_text(folder / "report.md", "\n\n".join(["# Evaluation", *parts, EXPLANATION]) + "\n")
    write_text(folder / "report.html", _html(tables, _draw(folder / "figures", evaluation, lengths)))


def _length_table(name: str, groups: list[Lengths]) -> tuple[str, Table]:
    table = [["Documents", "Mean words", "Median", "5 % to 95 %"]]
    for group in groups:
        least, _, median, _, most = group.percentiles
        table.append([group.group, f"{group.mean:.0f}", f"{median:.0f}", f"{least:.0f} to {most:.0f}"])
    return f"{name}: length of the retrieved top 10", table


def _draw(folder: Path, evaluation: Evaluation, lengths: dict[str, list[Lengths]]) -> list[tuple[str, Path]]:
    folder.mkdir()
    figures = [(evaluation.measures[0], folder / "measure.png")]
    plot_measure(evaluation, figures[0][1])
    for name in evaluation.results:
        if evaluation.comparisons:
            figures.append((f"{name}: query by query", folder / f"wins-{file_name(name)}.png"))
            plot_wins_and_losses(evaluation, name, figures[-1][1])
        if name in lengths:
            figures.append((f"{name}: document lengths", folder / f"lengths-{file_name(name)}.png"))
            plot_lengths(lengths[name], name, figures[-1][1])
    return figures


def _html(tables: list[tuple[str, Table]], figures: list[tuple[str, Path]]) -> str:
    """One page with the pictures inside, so that it can be sent as it is."""
    body = []
    for title, table in tables:
        head, *rows = [[html.escape(cell) for cell in row] for row in table]
        body.append(f"<h2>{html.escape(title)}</h2><table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>")
        body += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
        body.append("</table>")
    body.append(f"<p>{html.escape(EXPLANATION)}</p>")
    for title, path in figures:
        picture = base64.b64encode(path.read_bytes()).decode()
        text = html.escape(title)
        body.append(f'<h2>{text}</h2><img alt="{text}" src="data:image/png;base64,{picture}">')
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style>'
        f"<h1>Evaluation</h1>{''.join(body)}</html>\n"
    )
