"""`hf-cocondenser adapt`."""

from __future__ import annotations

from dataclasses import dataclass, field

from hf_cocondenser.cli.command import Command
from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.reading.columns import DocumentColumns
from hf_cocondenser.finetuning.adapt import AdaptConfig, adapt
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig


@dataclass
class AdaptArguments:
    """Where things are."""

    documents: str = field(metadata={"help": "JSON lines, Parquet, CSV, text, a folder of them, or a Hub data set"})
    output_dir: str = field(metadata={"help": "folder that becomes the retriever; its steps/ holds the way there"})
    passages_column: str | None = field(default=None, metadata={"help": "column with a list of passages, instead"})
    overwrite: bool = field(default=False, metadata={"help": "do steps again whose inputs changed"})


def run(
    model: str,
    arguments: AdaptArguments,
    columns: DocumentColumns,
    config: AdaptConfig,
    finetuning: FinetuneConfig,
    mining: MiningConfig,
) -> None:
    """Adapt `model` to the documents.

    Args:
        model: Condenser checkpoint or other encoder checkpoint to start from.
    """
    documents = load_documents(
        arguments.documents,
        **vars(columns),
        passages_column=arguments.passages_column,
    )
    name = arguments.documents.rstrip("/").rsplit("/", 1)[-1]
    adapt(
        model,
        documents,  # type: ignore[arg-type]
        arguments.output_dir,
        config,
        finetuning,
        mining,
        name=name,
        overwrite=arguments.overwrite,
    )


COMMAND = Command(
    summary="Make a retriever for documents that nobody has judged: coCondenser pre-training on them, then training on"
    " queries made of their titles or first sentences.",
    examples="""  hf-cocondenser adapt bert-base-uncased --documents my_documents.jsonl --output-dir retriever
  hf-cocondenser adapt cocondenser --documents my_documents/ --pretrain-epochs 4 --rounds 1 --output-dir retriever
The same command again goes on where it stopped, and does nothing that is already done.""",
    run=run,
    target="model",
)
