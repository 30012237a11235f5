"""`hf-cocondenser scorers`: compare ways of scoring."""

from __future__ import annotations

from hf_cocondenser.cli.command import Command
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.research.scorers.compare import compare_scorers
from hf_cocondenser.research.scorers.config import ScorersConfig


def run(
    checkpoint: str,
    config: ScorersConfig,
    args: RetrieverTrainingArguments,
    *,
    data: str | None = None,
    split: str | None = None,
    overwrite: bool = False,
) -> str:
    """Compare scorers on top of `checkpoint`.

    Args:
        checkpoint: plain encoder checkpoint, Condenser pre-training checkpoint or sentence-transformers model.
        data: BEIR folder with judgements to train on (train) and to measure on (test).
        split: judgements to measure on (default: the data set's own, mostly test).
        overwrite: do again what was done with other inputs.
    """
    if data is None:
        raise InputError("the following arguments are required: --data.")
    return compare_scorers(checkpoint, data, args.named_folder(), config, args, split=split, overwrite=overwrite)


COMMAND = Command(
    summary="Train several kinds of scorers alike (one vector, DPR, RocketQA, ColBERT, ME-BERT, Poly-encoder, COIL) and compare"
    " quality, time per query and bytes per document.",
    examples="""  hf-cocondenser scorers bert-base-uncased --data data/scifact --output-dir runs/scorers
  hf-cocondenser scorers runs/encoder --data data/squad --scorers dense colbert --test-queries 1000 --output-dir runs/two
The same command again goes on where it stopped, and does nothing that is already done.""",
    run=run,
    target="checkpoint",
    show=str,
)
