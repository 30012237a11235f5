"""What comes before fine-tuning: a fresh encoder, where one is wanted, and the stage on pairs."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import Any

from hf_cocondenser.data.tokenizer import train_wordpiece
from hf_cocondenser.finetuning.config import FinetuneConfig, PairsConfig, settings
from hf_cocondenser.finetuning.fresh_t5 import fresh_t5_config, is_fresh_t5, make_fresh_t5
from hf_cocondenser.finetuning.pair_training import open_stream, sources_signature, train_on_pairs
from hf_cocondenser.finetuning.publishing import data_hashes
from hf_cocondenser.finetuning.starting_point import load_starting_point, model_hash
from hf_cocondenser.finetuning.steps import processes, run_step
from hf_cocondenser.finetuning.training import RETRIEVER
from hf_cocondenser.retrieval.collection import RetrievalData

_ENCODER = "encoder"
_PAIRS_FOR_TOKENIZER = 100_000


def begin(
    checkpoint: str | Path,
    train: RetrievalData | None,
    dev: RetrievalData | None,
    steps: Path,
    config: FinetuneConfig,
    pairs: PairsConfig,
    overwrite: bool = False,
) -> tuple[str | Path, dict[str, dict[str, Any]]]:
    """Make what fine-tuning starts from.

    Args:
        checkpoint: see `finetune`.
        train: its corpus teaches a fresh encoder's tokenizer; where there is none, the first pairs do.
        dev: measured while training on pairs.
        steps: folder of the steps.
        config: training.
        pairs: the stage on pairs.
        overwrite: do steps again whose inputs changed.

    Returns:
        The checkpoint to fine-tune, and the manifests of the steps that were needed.
    """
    manifests: dict[str, dict[str, Any]] = {}
    start = checkpoint
    if is_fresh_t5(checkpoint):
        manifests["fresh"] = _fresh(str(checkpoint), train, steps, config, pairs, overwrite)
        start = steps / "fresh" / _ENCODER
    if pairs.wanted:
        manifests["pairs"] = _on_pairs(start, dev, steps, config, pairs, overwrite)
        start = steps / "pairs" / RETRIEVER
    return start, manifests


def _fresh(
    shape: str,
    train: RetrievalData | None,
    steps: Path,
    config: FinetuneConfig,
    pairs: PairsConfig,
    overwrite: bool,
) -> dict[str, Any]:
    fresh_t5_config(shape, config.vocabulary)  # refuses a bad shape before the tokenizer is trained

    def work(folder: Path) -> dict[str, Any]:
        if train is not None:
            texts = chain(train.corpus.values(), train.queries.values())
        else:
            texts = chain.from_iterable(islice(open_stream(pairs, config.seed)(), _PAIRS_FOR_TOKENIZER))
        make_fresh_t5(shape, train_wordpiece(texts, config.vocabulary), folder / _ENCODER, seed=config.seed)
        return {}

    texts = data_hashes(train) if train is not None else sources_signature(pairs)
    inputs = {"shape": shape, "texts": texts, "vocabulary": config.vocabulary, "seed": config.seed}
    return run_step(steps / "fresh", inputs, work, overwrite=overwrite)


def _on_pairs(
    start: str | Path,
    dev: RetrievalData | None,
    steps: Path,
    config: FinetuneConfig,
    pairs: PairsConfig,
    overwrite: bool,
) -> dict[str, Any]:
    model = load_starting_point(start, steps, config)
    without = (
        "rounds",
        "round2_start",
        "round2_negatives",
        "negatives_per_query",
        "epochs",
        "max_steps",
        "train_share",
    )
    inputs = {
        **settings(config, *without),
        **settings(pairs, "stages"),
        "sources": sources_signature(pairs),
        "start": model_hash(model),
        "dev": None if dev is None else data_hashes(dev),
        "processes": processes().num_processes,
    }
    return run_step(
        steps / "pairs",
        inputs,
        lambda folder: train_on_pairs(model, pairs, dev, folder, config),
        overwrite=overwrite,
        everywhere=True,
    )
