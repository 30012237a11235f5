"""`adapt`: a retriever for a corpus nobody has judged: pre-training on it, then pseudo-queries made from it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset

from hf_cocondenser.data.cutting import SpanOptions
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.documents import as_documents
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.store import SpanStore
from hf_cocondenser.data.tokenizer import load_tokenizer, tokenizer_hash
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.finetune import chosen_options, finetune
from hf_cocondenser.finetuning.inputs import Model, written_model
from hf_cocondenser.finetuning.queries.from_documents import pseudo_queries
from hf_cocondenser.finetuning.retriever_start import with_encoder
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.pretrain import pretrain
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.distributed import alone_in_its_folder, processes
from hf_cocondenser.utils.hashes import checkpoint_hash, hash_texts
from hf_cocondenser.utils.options import NonNegativeFloat, PositiveFloat, PositiveInt, check, option
from hf_cocondenser.utils.steps import STEPS, make_steps, run_step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_CHECKPOINT, _RETRIEVER, _SPANS = "checkpoint", "retriever", "spans"


@dataclass
class AdaptConfig:
    """The pre-training part of `adapt`; the rest is `finetune`'s.

    Raises:
        InputError: a value is out of its range.
    """

    pretrain_epochs: NonNegativeFloat = option(
        8.0, "coCondenser passes over the corpus; with 0 it is left out", group="pre-training"
    )
    pretrain_steps: PositiveInt | None = option(None, "steps of pre-training, instead of epochs", group="pre-training")
    pretrain_batch_size: PositiveInt = option(
        128, "documents (two spans each) per device and step", group="pre-training"
    )
    pretrain_learning_rate: PositiveFloat = option(1e-4, "peak learning rate of pre-training", group="pre-training")
    pretrain_temperature: PositiveFloat | None = option(
        None,
        "dot products of spans are divided by it (default: the start's own if it has one, else 1)",
        group="pre-training",
    )
    pretrain_max_length: PositiveInt = option(128, "tokens of a span, special tokens included", group="pre-training")
    passages_per_document: PositiveInt = option(8, "passages of a document that are used", group="pre-training")

    def __post_init__(self) -> None:
        check(self)


@alone_in_its_folder
def adapt(
    start: Model,
    documents: str | Path | Dataset,
    output_dir: str | Path,
    config: AdaptConfig | None = None,
    args: RetrieverTrainingArguments | None = None,
    mining: MiningConfig | None = None,
    pairs: PairsConfig | Sequence[str] | None = None,
    development: DevelopmentConfig | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    recipe: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Make a retriever for `documents` without any judgement; `output_dir` becomes the retriever.

    coCondenser pre-training on the documents, from `start`; queries from their titles or first sentences; then
    `finetune` on those. Like there, every step is skipped when it is done and goes on where it was killed. The
    pre-trained encoder of a sentence-transformers model goes back to its own pooling, projection and similarity, unless
    the arguments name a pooling.

    Args:
        start: a sentence-transformers model, a Condenser or any other encoder checkpoint with its tokenizer, by name or
            as an object.
        documents: whatever `load_documents` reads, in memory too, or what it gives.
        output_dir: where the retriever goes.
        config: pre-training.
        args, mining, pairs, development: as `finetune` takes them; so are `tokenizer` and `recipe`.
        name: what to call the documents.
        overwrite: do steps again whose inputs changed.
        options: single fields of `finetune`'s configurations, by name, instead of these.

    Returns:
        `finetune`'s summary.

    Raises:
        InputError: documents, checkpoint or an option cannot be used, or a step was done before with other inputs.
    """
    config = config or AdaptConfig()
    given = chosen_options((args, mining, pairs, development), recipe, options)
    if given.args.length_is_open:  # queries made of the texts: many passes over them make a retriever worse
        given = given._replace(args=given.args.changed(num_train_epochs=3.0))
    if isinstance(documents, str | Path):
        name = name or Path(documents).name
    rows: Any = as_documents(documents)
    output_dir = Path(output_dir)
    steps = output_dir / STEPS
    make_steps(output_dir, overwrite)
    train = pseudo_queries(rows, name or "corpus", config.passages_per_document)
    checkpoint = written_model(start, tokenizer, steps)
    if config.pretrain_epochs or config.pretrain_steps:
        checkpoint = _pretrained(checkpoint, rows, steps, config, given.args, train.name, overwrite)
    return finetune(checkpoint, train, output_dir, *given, overwrite=overwrite)


def _pretrained(
    start: str | Path,
    documents: Dataset,
    steps: Path,
    config: AdaptConfig,
    args: RetrieverTrainingArguments,
    name: str,
    overwrite: bool,
) -> Path:
    from sentence_transformers.util import is_sentence_transformer_model

    recipe = SpanOptions(target_tokens=min(SpanOptions.target_tokens, config.pretrain_max_length - 2))
    texts = ((row["_id"], "\n".join([row["title"], *row["passages"]])) for row in documents)

    def cut(folder: Path) -> dict[str, Any]:
        manifest = prepare_spans(documents, tokenizer, folder / _SPANS, recipe, overwrite=True, source=name)
        return manifest["counts"]

    tokenizer = load_tokenizer(start)
    inputs = {"documents": hash_texts(texts), "tokenizer": tokenizer_hash(tokenizer), **asdict(recipe)}
    run_step(steps / "spans", inputs, cut, overwrite=overwrite)
    length = _span_length(steps / "spans" / _SPANS, config)
    if length is None:
        logger.warning("No document has two spans of %d tokens: it is not pre-trained on them.", recipe.min_tokens)
        return Path(start)

    def train(folder: Path) -> dict[str, Any]:
        arguments = CondenserTrainingArguments(
            output_dir=str(folder / _CHECKPOINT),
            stage="cocondenser",
            num_train_epochs=config.pretrain_epochs or 1,
            max_steps=config.pretrain_steps or -1,
            per_device_train_batch_size=_batch_size(steps / "spans" / _SPANS, config, length, args.seed),
            learning_rate=config.pretrain_learning_rate,
            temperature=config.pretrain_temperature,
            bf16=args.bf16,
            fp16=args.fp16,
            use_cpu=args.use_cpu,
            seed=args.seed,
            save_total_limit=1,
            report_to=args.report_to,
        )
        options = ModelOptions(dropout=args.dropout, max_length=length)
        trainer = pretrain(start, steps / "spans" / _SPANS, arguments, options)
        if keeps_pooling and processes().is_main_process:
            with_encoder(checkpoint_path(start), folder / _CHECKPOINT, folder / _RETRIEVER)
        return {"steps": trainer.state.global_step}

    keeps_pooling = args.pooling is None and is_sentence_transformer_model(str(checkpoint_path(start)))
    inputs |= {
        "start": str(start),
        "weights": checkpoint_hash(start),
        **asdict(config),
        "seed": args.seed,
        "dropout": args.dropout,
        "keeps_pooling": keeps_pooling,
    }
    inputs |= {"precision": args.precision, "processes": processes().num_processes}
    run_step(steps / "pretrained", inputs, train, overwrite=overwrite, everywhere=True)
    return steps / "pretrained" / (_RETRIEVER if keeps_pooling else _CHECKPOINT)


def _span_length(spans: Path, config: AdaptConfig) -> int | None:
    """Tokens of a span at most, special tokens included: four documents in five hold two such spans.

    None where no document holds two spans at all.
    """
    store = SpanStore(spans)
    counts = store.token_counts[(store.span_counts > 1) & (store.token_counts >= 2 * SpanOptions.min_tokens)]
    if not len(counts):
        return None
    half = int(np.percentile(counts, 20)) // 2 + 2
    if half < min(SpanOptions.target_tokens + 2, config.pretrain_max_length):
        logger.info("The documents are short: spans have %d tokens at most.", half)
        return half
    return config.pretrain_max_length


def _batch_size(spans: Path, config: AdaptConfig, length: int, seed: int) -> int:
    """Documents per device and step: what was asked for, or as many as there are."""
    documents = len(SpanDataset(spans, pairs=True, seed=seed, max_length=length))
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
