"""`finetune`: a stage on pairs (where wanted), BM25 negatives, round 1, mined negatives, round 2; every step resumable."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.finetuning.before_rounds import begin
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig, PairsConfig, require_used, settings
from hf_cocondenser.finetuning.dev import hold_out, sample_dev, sample_queries
from hf_cocondenser.finetuning.fresh_t5 import is_fresh_t5
from hf_cocondenser.finetuning.lora import require_peft
from hf_cocondenser.finetuning.publish_retriever import publish
from hf_cocondenser.finetuning.rounds import FinetuningJob
from hf_cocondenser.finetuning.t5_estimate import log_estimates
from hf_cocondenser.finetuning.training import RETRIEVER
from hf_cocondenser.hub.card import Result
from hf_cocondenser.retrieval.collections.collection import RetrievalData, data_hashes
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.distributed import alone_in_its_folder, processes, wait_for_everyone
from hf_cocondenser.utils.files import absolute_if_there
from hf_cocondenser.utils.loading import require_within_reach
from hf_cocondenser.utils.steps import STEPS, make_steps

logger = logging.getLogger(__name__)


@alone_in_its_folder
def finetune(
    checkpoint: str | Path,
    data: str | Path | RetrievalData | None,
    output_dir: str | Path,
    config: FinetuneConfig | None = None,
    mining: MiningConfig | None = None,
    pairs: PairsConfig | None = None,
    *,
    dev: RetrievalData | None = None,
    columns: Columns | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fine-tune a retriever, after a stage on pairs where there are any; `output_dir` becomes the retriever.

    Its `steps/` hold the way there. The fine-tuning begins with the weights of the stage on pairs and a new optimizer.
    Called again after a kill it goes on where it stopped; a step whose inputs are unchanged is not done again. The
    test split is never read.

    Args:
        checkpoint: a sentence-transformers model, a plain encoder, a Condenser pre-training checkpoint, or
            `t5:LAYERSxHIDDEN`: a T5 encoder that was never trained and begins as a latent semantic model of the corpus
            (of the pairs, where there is none), with a tokenizer of its own.
        data: a BEIR folder with training judgements, or such a data set in memory; None where only pairs are trained on.
        output_dir: where the retriever goes.
        config: rounds and training.
        mining: hard negatives.
        pairs: the stage on pairs, and which stages there are.
        dev: development queries and judgements; by default the data's dev split, or held-out training queries.
        columns: those of documents and queries that are named otherwise than usual.
        overwrite: do steps again whose inputs changed.

    Returns:
        The summary that `finetuning.json` holds: settings, counts, and what each step recorded.

    Raises:
        InputError: the checkpoint or the data cannot be used, or a step was done before with other inputs.
    """
    config, mining, pairs = config or FinetuneConfig(), mining or MiningConfig(), pairs or PairsConfig()
    require_used(config, mining)
    if config.lora_rank:
        require_peft()
    if not is_fresh_t5(checkpoint):
        require_within_reach("The checkpoint", checkpoint)
    if mining.cross_encoder and not mining.trains_judge:
        require_within_reach("The cross-encoder", mining.cross_encoder)
    if mining.cross_encoder_start:
        require_within_reach("The cross-encoder's starting point", mining.cross_encoder_start)
    evaluate_run({"query": {"document": 1}}, {}, [config.dev_measure])  # refuses an unknown measure before the work
    if processes().is_main_process:
        log_estimates(checkpoint_path(checkpoint), config)
    train = None
    if data is not None:
        train, dev = _split(data, dev, config, columns)
    elif pairs.stages != "pretrain":
        raise InputError(
            "There is no data to fine-tune on; name a data set, or train on pairs only (stages pretrain)."
        )
    output_dir = Path(output_dir)
    steps = output_dir / STEPS
    make_steps(output_dir, overwrite)
    start, manifests = begin(checkpoint, train, dev, steps, config, pairs, overwrite)
    if train is not None and pairs.stages != "pretrain":
        manifests |= FinetuningJob(start, train, dev, steps, config, mining, overwrite).run()
    name = train and {"name": train.name, "training_queries": len(train.queries), "hashes": data_hashes(train)}
    summary = {
        "checkpoint": absolute_if_there(checkpoint),
        "data": name if pairs.stages != "pretrain" else None,
        "dev": None if dev is None else {"queries": len(dev.queries), "documents": len(dev.corpus)},
        "finetuning": settings(config),
        "mining": settings(mining),
        "pairs": settings(pairs) if pairs.wanted else None,
        "steps": {step: manifest["result"] for step, manifest in manifests.items()},
    }
    if processes().is_main_process:
        last, manifest = list(manifests.items())[-1]
        result = None
        if dev is not None and config.evaluations:
            result = Result(f"{dev.name} (development queries)", manifest["result"]["dev"], queries=len(dev.queries))
        publish(output_dir, steps / last / RETRIEVER, summary, result)
    wait_for_everyone()
    return summary


def _split(
    data: str | Path | RetrievalData, dev: RetrievalData | None, config: FinetuneConfig, columns: Columns | None
) -> tuple[RetrievalData, RetrievalData | None]:
    """Training queries, and development queries where the configuration wants them."""
    train = data if isinstance(data, RetrievalData) else load_retrieval_data(data, "train", columns=columns)
    if not train.relevant():
        raise InputError(f"No training query of '{train.name}' has a document judged above 0.")
    if not config.evaluations:
        dev = None
    elif dev is None and not isinstance(data, RetrievalData):
        dev = dev_split(data, train, columns)
    origin = "given" if dev is not None else "held out"
    if dev is None and config.evaluations:
        train, dev = hold_out(train, config.dev_share, config.dev_queries, config.seed)
    train = sample_queries(train, config.train_share, config.seed)
    if dev is not None:
        dev = sample_dev(dev, config.dev_queries, config.dev_documents, config.seed)
        logger.info("Development set (%s): %d queries over %d documents.", origin, len(dev.queries), len(dev.corpus))
    return train, dev


def dev_split(source: str | Path, train: RetrievalData, columns: Columns | None = None) -> RetrievalData | None:
    """The development queries of a BEIR folder, over the corpus of `train`, if it has any.

    A split that published figures are of (MS MARCO's is called dev) is a test split and is never looked at.
    """
    for split in ("dev", "validation"):
        if split != train.protocol.split and (Path(source) / "qrels" / f"{split}.tsv").is_file():
            return replace(load_retrieval_data(source, split, columns=columns), corpus=train.corpus)
    return None
