"""`hf-cocondenser finetune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hf_cocondenser.cli.command import Command
from hf_cocondenser.data.reading.columns import Columns, DocumentColumns
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import recipe_settings

Recipe = Literal["gtr", "rocketqa"]


def run(
    checkpoint: str,
    args: RetrieverTrainingArguments,
    mining: MiningConfig,
    pairs: PairsConfig,
    development: DevelopmentConfig,
    columns: DocumentColumns,
    *,
    data: Sequence[str] = (),
    dev: str | None = None,
    recipe: Recipe | None = None,
    overwrite: bool = False,
) -> None:
    """Fine-tune `checkpoint`.

    Args:
        checkpoint: sentence-transformers model, plain encoder checkpoint (T5 too) or Condenser pre-training
            checkpoint.
        data: BEIR folders with qrels/train.tsv (and qrels/dev.tsv, if there is one); several are searched as one.
        dev: BEIR folder with development queries (default: those of the data, or held-out ones).
        recipe: a paper's settings as defaults of all other options; gtr: T5 encoders as in arXiv 2112.07899;
            rocketqa: negatives denoised by a cross-encoder as in arXiv 2010.08191 (see --recipe NAME --help).
        overwrite: do steps again whose inputs changed.
    """
    from hf_cocondenser.finetuning.finetune import finetune

    if not data and pairs.stages != "pretrain":
        raise InputError("the following arguments are required: --data (or --stages pretrain, with --pairs).")
    options = (args, mining, pairs, development)
    query_column = pairs.query_column if data and not pairs.pairs else None
    finetune(
        checkpoint,
        list(data) or None,
        args.named_folder(),
        *options,
        dev=dev,
        columns=Columns(**vars(columns), query_column=query_column),
        overwrite=overwrite,
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
    first=(
        *("data", "output_dir", "recipe", "num_train_epochs", "max_steps", "per_device_train_batch_size"),
        *("learning_rate", "negatives_per_query", "rounds", "passage_length", "report_to"),
    ),
    recipes=recipe_settings,
    target="checkpoint",
)
