"""`hf-cocondenser compare`: measure run files and test their differences."""

from __future__ import annotations

from hf_cocondenser.cli.command import Command
from hf_cocondenser.evaluation.compare import compare_runs

COMMAND = Command(
    summary="Measure TREC run files and test how they differ; the first run is the baseline.",
    examples="""  hf-cocondenser compare bm25.trec mine.trec --data data/scifact
  hf-cocondenser compare runs/a/runs/model runs/b/runs/model --data data/scifact data/nfcorpus --output-dir runs/a-b
Where a run is a folder, it holds DATA.trec for every data set, as `evaluate` writes them.""",
    run=compare_runs,
    target="runs",
    show=str,
)
