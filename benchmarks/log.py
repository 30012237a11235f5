"""The results log: every figure that README and docs quote, one line each, and what they quote.

    python -m benchmarks.log docs/research/speed.md --table speed/encoding --command "python -m benchmarks.encoding MODEL" \
        --machine "AMD EPYC (Zen 4), 2 cores, busy"

takes the figures of the table below `<!-- log: speed/encoding -->` into the log. docs/research/results-log.md says more.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / "benchmarks" / "results.jsonl"
_NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?"
_FIGURE = re.compile(rf"({_NUMBER})(?: %)?(?: [\[(]({_NUMBER})(?:, |-)({_NUMBER})[\])])?|({_NUMBER})-({_NUMBER})")
_MARK = re.compile(r"<!-- log: (\S+) -->")
_SENTENCE = re.compile(rf"({_NUMBER}(?: \[{_NUMBER}, {_NUMBER}\])?)\**<!-- log: (\S+) -->")


def pages() -> list[Path]:
    """What may quote figures."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def quoted(text: str) -> dict[str, dict[str, str]]:
    """The figures that a page quotes: id -> `value`, `low` and `high` as they are written there.

    Raises:
        ValueError: a mark has no table below it and no figure before it, or two figures have the same id.
    """
    text = re.sub(r"^(```+).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)  # what shows how to mark marks nothing
    text = re.sub(r"`[^`\n]*`", lambda code: code[0].replace("<!--", ""), text)
    found = [(mark[2], mark[1]) for mark in _SENTENCE.finditer(text)]
    for mark in re.finditer(r"^<!-- log: (\S+) -->\s*\n((?:\|.*\n?)+)", text, re.MULTILINE):
        found += list(_cells(mark[1], mark[2].splitlines()))
    told = {name: figure(cell) for name, cell in found}
    if len(told) < len(found):
        names = [name for name, _ in found]
        raise ValueError(f"two figures are called {next(name for name in names if names.count(name) > 1)}")
    for name in _MARK.findall(text):
        if name not in told and not any(key.startswith(f"{name}/") for key in told):
            raise ValueError(f"nothing is quoted at the mark {name}")
    return told


def figure(cell: str) -> dict[str, str] | None:
    """What a cell says: `value`, or `low` and `high`, or all three; None where it is no figure."""
    match = _FIGURE.fullmatch(cell.strip().strip("*"))
    if match is None:
        return None
    value, low, high = match[1], match[2] or match[4], match[3] or match[5]
    return {key: text.replace(",", "") for key, text in (("value", value), ("low", low), ("high", high)) if text}


def _cells(name: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    """(id, cell) of every figure of a table; the columns before the first of figures alone name the row."""
    head, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    filled = [[row[column] for row in rows if row[column] not in ("", "-")] for column in range(len(head))]
    first = next(i for i, cells in enumerate(filled) if i and cells and all(map(figure, cells)))
    for row in rows:
        label = " ".join(cell for cell in row[:first] if cell).strip("*").replace("**", "")
        for column, cell in zip(head[first:], row[first:], strict=True):
            if figure(cell):
                yield f"{name}/{label}/{column}", cell


def read() -> dict[str, dict[str, Any]]:
    """The log: id -> its line."""
    lines = [json.loads(line) for line in LOG.read_text(encoding="utf-8").splitlines()]
    return {line["id"]: line for line in lines}


def add(figures: dict[str, dict[str, float]], **facts: Any) -> None:
    """Add figures, or replace those of the same ids.

    Args:
        figures: id -> `value`, `low` and `high`, as far as there are.
        facts: `command`, `machine`, and `commit` and `date` where they are not the present ones.
    """
    log = read() if LOG.is_file() else {}
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    facts = {"commit": revision.stdout.strip(), "date": time.strftime("%Y-%m-%d", time.gmtime())} | facts
    log |= {name: {"id": name, **numbers, **facts} for name, numbers in figures.items()}
    places = quotations()
    lines = [json.dumps(line | {"quoted": places.get(name, [])}, ensure_ascii=False) for name, line in log.items()]
    LOG.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def quotations() -> dict[str, list[str]]:
    """The pages that quote a figure, by its id."""
    places: dict[str, list[str]] = {}
    for page in pages():
        for name in quoted(page.read_text(encoding="utf-8")):
            places.setdefault(name, []).append(page.relative_to(ROOT).as_posix())
    return places


def flat(result: dict[str, Any], name: str) -> dict[str, dict[str, float]]:
    """A benchmark's nested result as figures; what is no number is left out."""
    figures: dict[str, dict[str, float]] = {}
    for key, value in result.items():
        if isinstance(value, dict):
            figures |= flat(value, f"{name}/{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            figures[f"{name}/{key}"] = {"value": value}
    return figures


def main() -> None:
    """Take a table's figures into the log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the page that quotes them")
    parser.add_argument("--table", required=True, help="id of the table, or of a figure in a sentence")
    parser.add_argument("--command", required=True, help="what was run")
    parser.add_argument("--machine", required=True, help="where: processor or GPU, how busy")
    parser.add_argument("--commit", help="of the code that ran (default: the present one)")
    parser.add_argument("--date", help="YYYY-MM-DD (default: today)")
    options = parser.parse_args()
    told = quoted(options.page.read_text(encoding="utf-8"))
    mine = {name: figures for name, figures in told.items() if f"{name}/".startswith(f"{options.table}/")}
    if not mine:
        parser.error(f"'{options.page}' quotes nothing as {options.table}.")
    given = {key: getattr(options, key) for key in ("command", "machine", "commit", "date") if getattr(options, key)}
    add({name: {key: float(text) for key, text in figures.items()} for name, figures in mine.items()}, **given)


if __name__ == "__main__":
    main()
