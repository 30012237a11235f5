"""`hf-cocondenser scorers`."""

from __future__ import annotations

import sys
from dataclasses import MISSING, dataclass

from hf_cocondenser.cli.command import Command
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.research.scorers.config import ScorersConfig
from hf_cocondenser.utils.options import option


@dataclass
class ScorersArguments:
    """Where things are."""

    data: str = option(MISSING, "BEIR folder with judgements to train on (train) and to measure on (test)")
    split: str | None = option(None, "judgements to measure on (default: the data set's own, mostly test)")
    overwrite: bool = option(False, "do again what was done with other inputs")


def run(checkpoint: str, arguments: ScorersArguments, config: ScorersConfig, args: RetrieverTrainingArguments) -> None:
    """Compare scorers on top of `checkpoint`."""
    from hf_cocondenser.research.scorers.compare import compare_scorers

    report = compare_scorers(
        checkpoint,
        arguments.data,
        args.named_folder(),
        config,
        args,
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
    arguments=(ScorersArguments, ScorersConfig, RetrieverTrainingArguments),
    run=run,
    target="checkpoint",
    target_help="plain encoder checkpoint, Condenser pre-training checkpoint or sentence-transformers model",
)
