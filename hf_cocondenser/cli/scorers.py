"""`hf-cocondenser scorers`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from hf_cocondenser.cli.command import Command
from hf_cocondenser.research.scorers.config import ScorersConfig


@dataclass
class ScorersArguments:
    """Where things are."""

    data: str = field(metadata={"help": "BEIR folder with judgements to train on (train) and to measure on (test)"})
    output_dir: str = field(metadata={"help": "folder for models, runs, the report and the table"})
    split: str | None = field(
        default=None, metadata={"help": "judgements to measure on (default: the data set's own, mostly test)"}
    )
    overwrite: bool = field(default=False, metadata={"help": "do again what was done with other inputs"})


def run(checkpoint: str, arguments: ScorersArguments, config: ScorersConfig) -> None:
    """Compare scorers on top of `checkpoint`."""
    from hf_cocondenser.research.scorers.compare import compare_scorers

    report = compare_scorers(
        checkpoint,
        arguments.data,
        arguments.output_dir,
        config,
        split=arguments.split,
        overwrite=arguments.overwrite,
    )
    sys.stdout.write(report)


COMMAND = Command(
    summary="Train several kinds of scorers alike (one vector, DPR, RocketQA, ColBERT, ME-BERT, Poly-encoder, COIL) and compare"
    " quality, time per query and bytes per document.",
    examples="""  hf-cocondenser scorers bert-base-uncased --data data/scifact --output-dir runs/scorers
  hf-cocondenser scorers runs/encoder --data data/squad --scorers dense colbert --test-queries 1000 --output-dir runs/two
The same command again goes on where it stopped, and does nothing that is already done.""",
    arguments=(ScorersArguments, ScorersConfig),
    run=run,
    target="checkpoint",
    target_help="plain encoder checkpoint, Condenser pre-training checkpoint or sentence-transformers model",
)
