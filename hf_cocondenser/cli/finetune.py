"""`hf-cocondenser finetune`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hf_cocondenser.cli.command import Command
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import recipe_settings
from hf_cocondenser.utils.options import option

Recipe = Literal["gtr", "rocketqa"]
RECIPE_HELP = (
    "a paper's settings as defaults of all other options; gtr: T5 encoders as in arXiv 2112.07899; rocketqa: negatives"
    " denoised by a cross-encoder as in arXiv 2010.08191 (see --recipe NAME --help)"
)


@dataclass
class FinetuneArguments:
    """Where things are."""

    data: list[str] = option(
        list, "BEIR folders with qrels/train.tsv (and qrels/dev.tsv, if there is one); several are searched as one"
    )
    dev: str | None = option(
        None, "BEIR folder with development queries (default: those of the data, or held-out ones)"
    )
    recipe: Recipe | None = option(None, RECIPE_HELP)
    overwrite: bool = option(False, "do steps again whose inputs changed")


def run(
    checkpoint: str,
    arguments: FinetuneArguments,
    args: RetrieverTrainingArguments,
    mining: MiningConfig,
    pairs: PairsConfig,
    development: DevelopmentConfig,
) -> None:
    """Fine-tune `checkpoint`."""
    from hf_cocondenser.finetuning.finetune import finetune

    if not arguments.data and pairs.stages != "pretrain":
        raise InputError("the following arguments are required: --data (or --stages pretrain, with --pairs).")
    finetune(
        checkpoint,
        arguments.data or None,
        args.named_folder(),
        args,
        mining,
        pairs,
        development,
        dev=arguments.dev,
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
    arguments=(FinetuneArguments, RetrieverTrainingArguments, MiningConfig, PairsConfig, DevelopmentConfig),
    run=run,
    first=(
        *("data", "output_dir", "recipe", "num_train_epochs", "max_steps", "per_device_train_batch_size"),
        *("learning_rate", "negatives_per_query", "rounds", "passage_length", "report_to"),
    ),
    recipes=recipe_settings,
    target="checkpoint",
    target_help="sentence-transformers model, plain encoder checkpoint (T5 too) or Condenser pre-training checkpoint",
)
