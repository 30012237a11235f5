"""What comes before fine-tuning: a fresh encoder, where one is wanted, and the stage on pairs."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import Any

from hf_cocondenser.data.tokenizer import train_wordpiece
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, PairsConfig, settings
from hf_cocondenser.finetuning.fresh_t5 import fresh_inputs, fresh_t5_config, is_fresh_t5, make_fresh_t5
from hf_cocondenser.finetuning.pairs.training import open_stream, sources_signature, train_on_pairs
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.training import RETRIEVER
from hf_cocondenser.retrieval.collections.collection import RetrievalData, data_hashes
from hf_cocondenser.retrieval.retriever import fingerprint
from hf_cocondenser.utils.distributed import processes
from hf_cocondenser.utils.steps import run_step

_ENCODER = "encoder"
_PAIRS_FOR_FRESH = 100_000


def begin(
    checkpoint: str | Path,
    train: RetrievalData | None,
    dev: RetrievalData | None,
    steps: Path,
    args: RetrieverTrainingArguments,
    pairs: PairsConfig,
    development: DevelopmentConfig,
    overwrite: bool = False,
) -> tuple[str | Path, dict[str, dict[str, Any]]]:
    """Make what fine-tuning starts from.

    Args:
        checkpoint: see `finetune`.
        train: a fresh encoder and its tokenizer are made for its corpus; where there is none, for the first pairs.
        dev: measured while training on pairs.
        steps: folder of the steps.
        args: training.
        pairs: the stage on pairs.
        development: the measure that is looked at on the way.
        overwrite: do steps again whose inputs changed.

    Returns:
        The checkpoint to fine-tune, and the manifests of the steps that were needed.
    """
    manifests: dict[str, dict[str, Any]] = {}
    start = checkpoint
    if is_fresh_t5(checkpoint):
        manifests["fresh"] = _fresh(str(checkpoint), train, steps, args, pairs, overwrite)
        start = steps / "fresh" / _ENCODER
    if pairs.wanted:
        manifests["pairs"] = _on_pairs(start, dev, steps, args, pairs, development.dev_measure, overwrite)
        start = steps / "pairs" / RETRIEVER
    return start, manifests


def _fresh(
    shape: str,
    train: RetrievalData | None,
    steps: Path,
    args: RetrieverTrainingArguments,
    pairs: PairsConfig,
    overwrite: bool,
) -> dict[str, Any]:
    fresh_t5_config(shape, args.vocabulary)  # refuses a bad shape before the tokenizer is trained

    def work(folder: Path) -> dict[str, Any]:
        if train is not None:
            documents, questions = list(train.corpus.values()), list(train.queries.values())
        else:
            first = list(islice(open_stream(pairs, args.seed)(), _PAIRS_FOR_FRESH))
            documents, questions = [pair.positive for pair in first], [pair.query for pair in first]
        tokenizer = train_wordpiece(chain(documents, questions), args.vocabulary)
        make_fresh_t5(shape, tokenizer, documents, folder / _ENCODER, args)
        return {}

    texts = data_hashes(train) if train is not None else sources_signature(pairs)
    return run_step(steps / "fresh", fresh_inputs(shape, texts, args), work, overwrite=overwrite)


def _on_pairs(
    start: str | Path,
    dev: RetrievalData | None,
    steps: Path,
    args: RetrieverTrainingArguments,
    pairs: PairsConfig,
    dev_measure: str,
    overwrite: bool,
) -> dict[str, Any]:
    model = load_starting_point(start, args)
    inputs = {
        **settings(args, "negatives_per_query", "num_train_epochs", "max_steps"),
        "dev_measure": dev_measure,
        **settings(pairs, "stages"),
        "sources": sources_signature(pairs),
        "start": fingerprint(model),
        "dev": None if dev is None else data_hashes(dev),
        "processes": processes().num_processes,
    }
    return run_step(
        steps / "pairs",
        inputs,
        lambda folder: train_on_pairs(model, pairs, dev, folder, args, dev_measure),
        overwrite=overwrite,
        everywhere=True,
    )
