"""Training the cross-encoder that scores mined negatives (RocketQA, arXiv 2010.08191)."""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import CrossEncoderConfig, MiningConfig
from hf_cocondenser.finetuning.training_set import Pool
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.retriever import transformers_of
from hf_cocondenser.utils.distributed import local_device, on_first, processes
from hf_cocondenser.utils.files import write_text
from hf_cocondenser.utils.loading import load_whole
from hf_cocondenser.utils.progress import fit_to_output
from hf_cocondenser.utils.steps import SCRATCH
from hf_cocondenser.utils.trainer_checkpoints import RecordCheckpoints, last_checkpoint

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

logger = logging.getLogger(__name__)

MODEL = "model"
_HEAD = r"(?!.*(embeddings|encoder|layers?)\.)"  # what a classifier has beside its encoder is new
_HELD_OUT_SHARE = 0.1
_HELD_OUT_MOST = 200

Example = dict[str, Any]


def train_cross_encoder(
    start: SentenceTransformer,
    data: RetrievalData,
    pool: Pool,
    folder: Path,
    config: CrossEncoderConfig,
    args: RetrieverTrainingArguments,
) -> tuple[CrossEncoder, list[Example]]:
    """Train a cross-encoder with sentence-transformers' trainer: positives against `pool`, binary cross-entropy.

    A tenth of the queries (200 at most) is left out, for `cross_encoder_report`. Processes share the work.

    Args:
        start: its transformer is what the cross-encoder is made of.
        data: judged training queries.
        pool: negatives of each query.
        folder: gets `model/` and `log.jsonl`.
        config: epochs, rate, batch and length.
        args: everything else of the training.

    Returns:
        The cross-encoder, and the pairs left out.

    Raises:
        InputError: the encoder is of a family without a head for classification, or there are too few queries.
    """
    from datasets import Dataset
    from sentence_transformers.cross_encoder import (
        CrossEncoder,
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
    )
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    training, left_out = labelled_pairs(data, pool, args.seed)
    on_first(lambda: _write_encoder(start, folder / SCRATCH / "start"))
    torch.manual_seed(args.seed)
    model = load_whole(
        CrossEncoder,
        "The cross-encoder's start",
        folder / SCRATCH / "start",
        may_be_new=_HEAD,
        num_labels=1,
        max_length=config.cross_encoder_length,
        device=local_device(),
        model_kwargs={"dtype": torch.float32},
    )
    shared = {item.name for item in fields(CrossEncoderTrainingArguments) if item.init}
    arguments = CrossEncoderTrainingArguments(
        **{name: value for name, value in args.to_dict().items() if name in shared}
        | {
            "output_dir": str(folder / SCRATCH),
            "num_train_epochs": config.cross_encoder_epochs,
            "max_steps": -1,
            "per_device_train_batch_size": config.cross_encoder_batch_size,
            "learning_rate": config.cross_encoder_learning_rate,
            "eval_strategy": "no",
            "save_strategy": "steps",
            "save_steps": 0.1,
            "save_total_limit": 1,
            "data_seed": args.seed,
        }
    )
    logger.info("Training a cross-encoder on %s pairs.", f"{len(training):,}")
    trainer = CrossEncoderTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(training), loss=BinaryCrossEntropyLoss(model)
    )
    trainer.add_callback(RecordCheckpoints())
    fit_to_output(trainer)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / SCRATCH))
    if processes().is_main_process:
        model.save_pretrained(str(folder / MODEL), create_model_card=False)
        write_text(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in trainer.state.log_history))
    return model, left_out


def labelled_pairs(data: RetrievalData, pool: Pool, seed: int) -> tuple[list[Example], list[Example]]:
    """Labelled pairs to train on, and those of a tenth of the queries to look at afterwards.

    Raises:
        InputError: there are fewer than two queries with positives and negatives.
    """
    relevant = data.relevant()
    queries = [query for query in relevant if pool.get(query)]
    if len(queries) < 2:
        raise InputError(
            f"'{data.name}' has {len(queries)} queries to train a cross-encoder on; it needs two or more."
        )
    number = min(max(1, round(_HELD_OUT_SHARE * len(queries))), _HELD_OUT_MOST)
    chosen = {queries[i] for i in np.random.default_rng(seed).permutation(len(queries))[:number].tolist()}
    parts: tuple[list[Example], list[Example]] = ([], [])
    for query in queries:
        for label, documents in ((1.0, relevant[query]), (0.0, pool[query])):
            for document in documents:
                pair = {"query": data.queries[query], "passage": data.corpus[document], "label": label}
                parts[query in chosen].append(pair)
    return parts


def cross_encoder_report(scores: np.ndarray, labels: np.ndarray, config: MiningConfig) -> dict[str, float | int]:
    """How a cross-encoder does on pairs that it has not seen.

    Args:
        scores: its probabilities.
        labels: above 0 for relevant pairs.
        config: holds the thresholds `negative_below` and `positive_above`.

    Returns:
        How many pairs; of the negatives, the share that denoising keeps; of the positives, the share that it would
        take for negatives, and the share that would become pseudo-positives.
    """
    positive = labels > 0
    return {
        "held_out_pairs": len(labels),
        "negatives_kept": round(float((scores[~positive] < config.negative_below).mean()), 4),
        "positives_taken_for_negatives": round(float((scores[positive] < config.negative_below).mean()), 4),
        "positives_recognised": round(float((scores[positive] > config.positive_above).mean()), 4),
    }


def require_classifiable(start: SentenceTransformer) -> None:
    """Refuse an encoder that a cross-encoder cannot be made of.

    Raises:
        InputError: its family has no sequence classifier, or is T5's.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    encoder = transformers_of(start)[0].auto_model
    if type(encoder.config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING or "t5" in encoder.config.model_type:
        raise InputError(
            f"A cross-encoder cannot be made of a {encoder.config.model_type} encoder; name another with"
            " --cross-encoder-start, or a trained one with --cross-encoder."
        )


def _write_encoder(start: SentenceTransformer, folder: Path) -> None:
    """The transformer of a retriever as a plain checkpoint."""
    require_classifiable(start)
    transformers_of(start)[0].auto_model.save_pretrained(folder)
    start.tokenizer.save_pretrained(folder)
