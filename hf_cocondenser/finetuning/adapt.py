"""`adapt`: a retriever for a corpus nobody has judged: pre-training on it, then pseudo-queries made from it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset

from hf_cocondenser.data.cutting import SpanOptions
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.tokenizer import load_tokenizer, tokenizer_hash
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig, require_used
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.queries.from_documents import pseudo_queries
from hf_cocondenser.finetuning.retriever_start import with_encoder
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.pretrain import pretrain
from hf_cocondenser.retrieval.encode import resolve_precision
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.distributed import alone_in_its_folder, processes
from hf_cocondenser.utils.hashes import checkpoint_hash, hash_texts
from hf_cocondenser.utils.steps import STEPS, make_steps, run_step

logger = logging.getLogger(__name__)

_CHECKPOINT, _RETRIEVER, _SPANS = "checkpoint", "retriever", "spans"


@dataclass
class AdaptConfig:
    """The pre-training part of `adapt`; the rest is `FinetuneConfig` and `MiningConfig`.

    Raises:
        InputError: a value is out of its range.
    """

    pretrain_epochs: float = field(default=8.0, metadata={"help": "coCondenser passes over the corpus; 0: none"})
    pretrain_steps: int = field(
        default=0, metadata={"help": "steps of pre-training, instead of epochs (0: by epochs)"}
    )
    pretrain_batch_size: int = field(default=128, metadata={"help": "documents (two spans each) per device and step"})
    pretrain_learning_rate: float = field(default=1e-4, metadata={"help": "peak learning rate of pre-training"})
    pretrain_temperature: float | None = field(
        default=None,
        metadata={"help": "dot products of spans are divided by it (default: the start's own if it has one, else 1)"},
    )
    pretrain_max_length: int = field(default=128, metadata={"help": "tokens of a span, special tokens included"})
    passages_per_document: int = field(default=8, metadata={"help": "passages of a document that are used"})

    def __post_init__(self) -> None:
        if self.pretrain_epochs < 0 or self.pretrain_steps < 0:
            raise InputError("pretrain_epochs and pretrain_steps cannot be negative.")
        if self.passages_per_document < 1:
            raise InputError(f"passages_per_document is {self.passages_per_document}; it must be 1 or more.")


@alone_in_its_folder
def adapt(
    start: str | Path,
    documents: Dataset,
    output_dir: str | Path,
    config: AdaptConfig | None = None,
    finetuning: FinetuneConfig | None = None,
    mining: MiningConfig | None = None,
    *,
    name: str = "corpus",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make a retriever for `documents` without any judgement; `output_dir` becomes the retriever.

    coCondenser pre-training on the documents, from `start`; queries from their titles or first sentences; then
    `finetune` on those. Like there, every step is skipped when it is done and goes on where it was killed. The
    pre-trained encoder of a sentence-transformers model goes back to its own pooling, projection and similarity, unless
    the configuration names a pooling.

    Args:
        start: a sentence-transformers model, a Condenser or any other encoder checkpoint, with its tokenizer.
        documents: as `load_documents` gives them.
        output_dir: where the retriever goes.
        config: pre-training.
        finetuning: rounds and training.
        mining: hard negatives.
        name: what to call the documents.
        overwrite: do steps again whose inputs changed.

    Returns:
        `finetune`'s summary.

    Raises:
        InputError: documents or checkpoint cannot be used, or a step was done before with other inputs.
    """
    config, finetuning, mining = config or AdaptConfig(), finetuning or FinetuneConfig(), mining or MiningConfig()
    require_used(finetuning, mining)
    output_dir = Path(output_dir)
    steps = output_dir / STEPS
    make_steps(output_dir, overwrite)
    train = pseudo_queries(documents, name, config.passages_per_document)
    checkpoint: str | Path = start
    if config.pretrain_epochs or config.pretrain_steps:
        checkpoint = _pretrained(start, documents, steps, config, finetuning, name, overwrite)
    return finetune(checkpoint, train, output_dir, finetuning, mining, overwrite=overwrite)


def _pretrained(
    start: str | Path,
    documents: Dataset,
    steps: Path,
    config: AdaptConfig,
    finetuning: FinetuneConfig,
    name: str,
    overwrite: bool,
) -> Path:
    from sentence_transformers.util import is_sentence_transformer_model

    device = processes().device
    recipe = SpanOptions(target_tokens=min(SpanOptions.target_tokens, config.pretrain_max_length - 2))
    texts = ((row["_id"], "\n".join([row["title"], *row["passages"]])) for row in documents)

    def cut(folder: Path) -> dict[str, Any]:
        manifest = prepare_spans(documents, tokenizer, folder / _SPANS, recipe, overwrite=True, source=name)
        return manifest["counts"]

    tokenizer = load_tokenizer(start)
    inputs = {"documents": hash_texts(texts), "tokenizer": tokenizer_hash(tokenizer), **asdict(recipe)}
    run_step(steps / "spans", inputs, cut, overwrite=overwrite)

    def train(folder: Path) -> dict[str, Any]:
        arguments = CondenserTrainingArguments(
            output_dir=str(folder / _CHECKPOINT),
            stage="cocondenser",
            num_train_epochs=config.pretrain_epochs,
            max_steps=config.pretrain_steps or -1,
            per_device_train_batch_size=_batch_size(steps / "spans" / _SPANS, config, finetuning.seed),
            learning_rate=config.pretrain_learning_rate,
            temperature=config.pretrain_temperature,
            bf16=resolve_precision(finetuning.precision, device) == "bfloat16",
            use_cpu=device.type == "cpu",
            seed=finetuning.seed,
            save_total_limit=1,
            report_to="none",
        )
        options = ModelOptions(dropout=finetuning.dropout, max_length=config.pretrain_max_length)
        trainer = pretrain(start, steps / "spans" / _SPANS, arguments, options)
        if keeps_pooling and processes().is_main_process:
            with_encoder(checkpoint_path(start), folder / _CHECKPOINT, folder / _RETRIEVER)
        return {"steps": trainer.state.global_step}

    keeps_pooling = finetuning.pooling == "auto" and is_sentence_transformer_model(str(checkpoint_path(start)))
    inputs |= {
        "start": str(start),
        "weights": checkpoint_hash(start),
        **asdict(config),
        "seed": finetuning.seed,
        "dropout": finetuning.dropout,
        "keeps_pooling": keeps_pooling,
    }
    inputs |= {"precision": finetuning.precision, "processes": processes().num_processes}
    run_step(steps / "pretrained", inputs, train, overwrite=overwrite, everywhere=True)
    return steps / "pretrained" / (_RETRIEVER if keeps_pooling else _CHECKPOINT)


def _batch_size(spans: Path, config: AdaptConfig, seed: int) -> int:
    """Documents per device and step: what was asked for, or as many as there are."""
    documents = len(SpanDataset(spans, pairs=True, seed=seed, max_length=config.pretrain_max_length))
    most = documents // processes().num_processes
    if most >= config.pretrain_batch_size:
        return config.pretrain_batch_size
    logger.info(
        "%d documents give pairs of spans: pretrain_batch_size is lowered from %d to %d.",
        documents,
        config.pretrain_batch_size,
        most,
    )
    return max(most, 1)
