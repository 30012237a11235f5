"""`hf-cocondenser adapt`."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from hf_cocondenser.cli.command import Command
from hf_cocondenser.cli.finetune import RECIPE_HELP, Recipe
from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.finetuning.adapt import AdaptConfig, adapt
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import recipe_settings
from hf_cocondenser.utils.options import option


@dataclass
class AdaptArguments:
    """Where things are."""

    documents: str = option(MISSING, "JSON lines, Parquet, CSV, text, a folder of them, or a Hub data set")
    text_column: str | None = option(None, "column with the text; found by its name if usual")
    title_column: str | None = option(None, "column with the title; 'title' if there is one")
    passages_column: str | None = option(None, "column with a list of passages, instead")
    recipe: Recipe | None = option(None, RECIPE_HELP)
    overwrite: bool = option(False, "do steps again whose inputs changed")


def run(
    model: str,
    arguments: AdaptArguments,
    config: AdaptConfig,
    args: RetrieverTrainingArguments,
    mining: MiningConfig,
    pairs: PairsConfig,
    development: DevelopmentConfig,
) -> None:
    """Adapt `model` to the documents."""
    columns = {name: getattr(arguments, name) for name in ("text_column", "title_column", "passages_column")}
    output_dir = args.named_folder()
    adapt(
        model,
        load_documents(arguments.documents, **columns),  # type: ignore[arg-type]
        output_dir,
        config,
        args,
        mining,
        pairs,
        development,
        name=Path(arguments.documents).name,
        overwrite=arguments.overwrite,
    )


COMMAND = Command(
    summary="Make a retriever for documents that nobody has judged: coCondenser pre-training on them, then training on"
    " queries made of their titles or first sentences.",
    examples="""  hf-cocondenser adapt bert-base-uncased --documents my_documents.jsonl --output-dir retriever
  hf-cocondenser adapt cocondenser --documents my_documents/ --pretrain-epochs 4 --rounds 1 --output-dir retriever
The same command again goes on where it stopped, and does nothing that is already done.""",
    arguments=(AdaptArguments, AdaptConfig, RetrieverTrainingArguments, MiningConfig, PairsConfig, DevelopmentConfig),
    run=run,
    first=(
        *("output_dir", "pretrain_epochs", "num_train_epochs", "max_steps", "per_device_train_batch_size"),
        *("learning_rate", "negatives_per_query", "rounds", "passage_length", "report_to"),
    ),
    recipes=recipe_settings,
    target="model",
    target_help="Condenser checkpoint or other encoder checkpoint to start from",
)
