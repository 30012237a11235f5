"""`hf-cocondenser finetune`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hf_cocondenser.cli.command import Command
from hf_cocondenser.data.reading.columns import Columns, DocumentColumns
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import recipe_settings


@dataclass
class FinetuneArguments:
    """Where things are."""

    output_dir: str = field(metadata={"help": "folder that becomes the retriever; its steps/ holds the way there"})
    data: str | None = field(
        default=None, metadata={"help": "BEIR folder with qrels/train.tsv (and qrels/dev.tsv, if there is one)"}
    )
    recipe: Literal["cocondenser", "gtr", "rocketqa"] = field(
        default="cocondenser",
        metadata={
            "help": "defaults of all other options; gtr: T5 encoders as in arXiv 2112.07899; rocketqa: negatives denoised"
            " by a cross-encoder as in arXiv 2010.08191 (see --recipe NAME --help)"
        },
    )
    overwrite: bool = field(default=False, metadata={"help": "do steps again whose inputs changed"})


def run(
    checkpoint: str,
    arguments: FinetuneArguments,
    config: FinetuneConfig,
    mining: MiningConfig,
    pairs: PairsConfig,
    columns: DocumentColumns,
) -> None:
    """Fine-tune `checkpoint`.

    Args:
        checkpoint: sentence-transformers model, plain encoder checkpoint (T5 too) or Condenser pre-training
            checkpoint.
    """
    from hf_cocondenser.finetuning.finetune import finetune

    if arguments.data is None and pairs.stages != "pretrain":
        raise InputError("the following arguments are required: --data (or --stages pretrain, with --pairs).")
    finetune(
        checkpoint,
        arguments.data,
        arguments.output_dir,
        config,
        mining,
        pairs,
        columns=Columns(
            **vars(columns), query_column=pairs.query_column if arguments.data and not pairs.pairs else None
        ),
        overwrite=arguments.overwrite,
    )


COMMAND = Command(
    summary="Train a retriever on judged queries: BM25 negatives, round 1, mined negatives, round 2.",
    examples="""  hf-cocondenser finetune runs/cocondenser --data data/scifact --output-dir runs/retriever
  hf-cocondenser finetune sentence-transformers/all-MiniLM-L6-v2 --data data/scifact --output-dir runs/minilm --rounds 1
  hf-cocondenser finetune runs/cocondenser --data data/squad --output-dir runs/squad --config finetune.yaml
  hf-cocondenser finetune google/flan-t5-base --recipe gtr --data data/msmarco --output-dir runs/gtr --max-steps 20000
  hf-cocondenser finetune t5-base --recipe gtr --pairs gooaq.jsonl:3 reddit.jsonl:1 --data data/nq --output-dir runs/two
  hf-cocondenser finetune bert-base-uncased --recipe rocketqa --batch-size 256 --data data/nq --output-dir runs/rocketqa
The same command again goes on where it stopped, and does nothing that is already done.""",
    run=run,
    recipes=recipe_settings,
    target="checkpoint",
)
