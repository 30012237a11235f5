"""`finetune`: BM25 negatives, round 1, mined negatives, round 2; every step resumable."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig, require_used
from hf_cocondenser.finetuning.dev import hold_out, sample_dev, sample_queries
from hf_cocondenser.finetuning.job import FinetuningJob
from hf_cocondenser.finetuning.training_set import relevant_documents
from hf_cocondenser.loading import require_within_reach
from hf_cocondenser.retrieval.collection import RetrievalData
from hf_cocondenser.retrieval.loading import load_retrieval_data
from hf_cocondenser.retrieval.measures import evaluate_run

logger = logging.getLogger(__name__)


def finetune(
    checkpoint: str | Path,
    data: str | Path | RetrievalData,
    output_dir: str | Path,
    config: FinetuneConfig | None = None,
    mining: MiningConfig | None = None,
    *,
    dev: RetrievalData | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fine-tune a retriever in one or two rounds; `output_dir` becomes the retriever, its `steps/` the way there.

    Called again after a kill it goes on where it stopped; a step whose inputs are unchanged is not done again. The
    test split is never read.

    Args:
        checkpoint: a sentence-transformers model, a plain encoder or a Condenser pre-training checkpoint.
        data: a BEIR folder with training judgements, or such a data set in memory.
        output_dir: where the retriever goes.
        config: rounds and training.
        mining: hard negatives.
        dev: development queries and judgements; by default the data's dev split, or held-out training queries.
        overwrite: do steps again whose inputs changed.

    Returns:
        The summary that `finetuning.json` holds: settings, counts, and what each step recorded.

    Raises:
        InputError: the checkpoint or the data cannot be used, or a step was done before with other inputs.
    """
    config, mining = config or FinetuneConfig(), mining or MiningConfig()
    require_used(config, mining)
    require_within_reach("The checkpoint", checkpoint)
    if mining.cross_encoder:
        require_within_reach("The cross-encoder", mining.cross_encoder)
    evaluate_run({"query": {"document": 1}}, {}, [config.dev_measure])  # refuses an unknown measure before the work
    train = data if isinstance(data, RetrievalData) else load_retrieval_data(data, "train")
    if not relevant_documents(train.qrels):
        raise InputError(f"No training query of '{train.name}' has a document judged above 0.")
    if not config.evaluations:
        dev = None
    elif dev is None and not isinstance(data, RetrievalData):
        dev = _dev_split(data, train)
    origin = "given" if dev is not None else "held out"
    if dev is None and config.evaluations:
        train, dev = hold_out(train, config.dev_share, config.dev_queries, config.seed)
    train = sample_queries(train, config.train_share, config.seed)
    if dev is not None:
        dev = sample_dev(dev, config.dev_queries, config.dev_documents, config.seed)
        logger.info("Development set (%s): %d queries over %d documents.", origin, len(dev.queries), len(dev.corpus))
    return FinetuningJob(checkpoint, train, dev, Path(output_dir), config, mining, overwrite).run()


def _dev_split(source: str | Path, train: RetrievalData) -> RetrievalData | None:
    for split in ("dev", "validation"):
        if (Path(source) / "qrels" / f"{split}.tsv").is_file():
            return replace(load_retrieval_data(source, split), corpus=train.corpus)
    return None
