"""README's table of the quickstart, of several seeds' results: `python -m benchmarks.quickstart FOLDER ...`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hf_cocondenser.utils.files import read_json
from hf_cocondenser.utils.tables import markdown_table, with_interval

MEASURES = ("nDCG@10", "MRR@10", "Recall@100")


def seeds_table(runs: list[dict[str, Any]]) -> str:
    """Mean and range over the runs of every system, then every difference that a run has an interval of, run by run."""
    rows = [["", *MEASURES]]
    for system in runs[0]["table"]:
        rows.append([system, *(_over_seeds([run["table"][system][m]["mean"] for run in runs]) for m in MEASURES)])
    lines = [markdown_table(rows), ""]
    for name in runs[0]["differences"]:
        for measure in MEASURES:
            figures = [run["differences"][name][measure] for run in runs]
            told = ", ".join(with_interval(f["mean"], f["interval"], sign="+", digits=3) for f in figures)
            lines.append(f"- {name}: {measure} {told}")
    return "\n".join(lines)


def _over_seeds(values: list[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return f"{np.mean(values):.3f}" + (f" ({low}-{high})" if low != high else "")


def main() -> None:
    """Read the folders' results.json and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of `hf-cocondenser quickstart --seed N`")
    folders = parser.parse_args().folders
    sys.stdout.write(seeds_table([read_json(folder / "results.json") for folder in folders]) + "\n")


if __name__ == "__main__":
    main()
