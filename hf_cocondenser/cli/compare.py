"""`hf-cocondenser compare`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from hf_cocondenser.cli.command import Command


@dataclass
class CompareArguments:
    """What the runs are of, and how to measure them."""

    data: list[str] = field(
        metadata={
            "help": "judged collections or files of judgements (qrels) of the runs; several where runs are folders"
        }
    )
    output_dir: str | None = field(default=None, metadata={"help": "new folder for the report (default: only print)"})
    split: str | None = field(
        default=None, metadata={"help": "judgements to use (default: the data set's own, mostly test)"}
    )
    measures: list[str] = field(
        default_factory=lambda: ["nDCG@10", "MRR@10", "Recall@100"],
        metadata={"help": "nDCG@k, MRR@k, Recall@k, MAP, Success@k, P@k, Answer@k; the first is drawn"},
    )
    names: list[str] | None = field(
        default=None, metadata={"help": "what to call the runs (default: their file names)"}
    )
    overwrite: bool = field(default=False, metadata={"help": "replace the output folder"})


def run(runs: list[str], arguments: CompareArguments) -> None:
    """Compare `runs`; the first is the baseline."""
    from hf_cocondenser.evaluation.compare import compare_runs

    evaluation = compare_runs(
        runs,
        arguments.data,
        arguments.output_dir,
        split=arguments.split,
        measures=arguments.measures,
        names=arguments.names,
        overwrite=arguments.overwrite,
    )
    sys.stdout.write(f"{evaluation}\n")


COMMAND = Command(
    summary="Measure TREC run files and test how they differ; the first run is the baseline.",
    examples="""  hf-cocondenser compare bm25.trec mine.trec --data data/scifact
  hf-cocondenser compare bm25.trec mine.trec --data qrels.txt
  hf-cocondenser compare runs/a/runs/model runs/b/runs/model --data data/scifact data/nfcorpus --output-dir runs/a-b
Where a run is a folder, it holds DATA.trec for every data set, as `evaluate` writes them.""",
    arguments=(CompareArguments,),
    run=run,
    target="run",
    target_help="TREC run file, or folder of DATA.trec files",
    many_targets=True,
)
