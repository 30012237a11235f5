"""`hf-cocondenser adapt`."""

from __future__ import annotations

from pathlib import Path

from hf_cocondenser.cli.command import Command
from hf_cocondenser.cli.finetune import Recipe
from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.reading.columns import DocumentColumns
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.adapt import AdaptConfig, adapt
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import recipe_settings


def run(
    model: str,
    columns: DocumentColumns,
    config: AdaptConfig,
    args: RetrieverTrainingArguments,
    mining: MiningConfig,
    pairs: PairsConfig,
    development: DevelopmentConfig,
    *,
    documents: str | None = None,
    passages_column: str | None = None,
    recipe: Recipe | None = None,
    overwrite: bool = False,
) -> None:
    """Adapt `model` to the documents.

    Args:
        model: Condenser checkpoint or other encoder checkpoint to start from.
        documents: JSON lines, Parquet, CSV, text, a folder of them, or a Hub data set.
        passages_column: column with a list of passages, instead.
        recipe: a paper's settings as defaults of the fine-tuning (see finetune --help).
        overwrite: do steps again whose inputs changed.
    """
    if documents is None:
        raise InputError("the following arguments are required: --documents.")
    rows = load_documents(documents, **vars(columns), passages_column=passages_column)
    options, name = (config, args, mining, pairs, development), Path(documents).name
    adapt(model, rows, args.named_folder(), *options, name=name, overwrite=overwrite)  # type: ignore[arg-type]


COMMAND = Command(
    summary="Make a retriever for documents that nobody has judged: coCondenser pre-training on them, then training on"
    " queries made of their titles or first sentences.",
    examples="""  hf-cocondenser adapt bert-base-uncased --documents my_documents.jsonl --output-dir retriever
  hf-cocondenser adapt cocondenser --documents my_documents/ --pretrain-epochs 4 --rounds 1 --output-dir retriever
The same command again goes on where it stopped, and does nothing that is already done.""",
    run=run,
    first=(
        *("documents", "output_dir", "pretrain_epochs", "num_train_epochs", "max_steps"),
        *("per_device_train_batch_size", "learning_rate", "rounds", "passage_length", "report_to"),
    ),
    recipes=recipe_settings,
    target="model",
)
