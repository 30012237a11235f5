"""Training a scorer: the contrastive objective of fine-tuning, over whatever the scorer's scores are."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader
from transformers import Trainer, TrainingArguments

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.loss import contains, split_labels
from hf_cocondenser.finetuning.temperature import temperature_of_scores
from hf_cocondenser.finetuning.tokens import TokenStore
from hf_cocondenser.finetuning.trainer import SetEpoch
from hf_cocondenser.finetuning.training import round_arguments
from hf_cocondenser.finetuning.training_set import EpochSampler, TrainingCollator, TrainingSet
from hf_cocondenser.research.scorers.base import MODEL, Scorer
from hf_cocondenser.retrieval.encode import Features
from hf_cocondenser.utils.files import write_text
from hf_cocondenser.utils.progress import fit_to_output

logger = logging.getLogger(__name__)

_CALIBRATION_PAIRS = 64


def train_scorer(
    scorer: Scorer, training_set: TrainingSet, folder: Path, args: RetrieverTrainingArguments
) -> dict[str, Any]:
    """Train a scorer as `finetune` trains a retriever in one round, and write it to `folder/model`.

    Negatives are the query's hard ones and all passages of the batch; relevant ones are masked out by their ids.

    Args:
        args: epochs, batch, learning rate, lengths and the like; nothing may be measured on the way.

    Returns:
        What is worth recording: temperature, steps, training queries, the mean loss.
    """
    torch.manual_seed(args.seed)
    collator = TrainingCollator(
        training_set,
        TokenStore(scorer.encoder, training_set.queries, "query"),
        TokenStore(scorer.encoder, training_set.passages, "document"),
    )
    temperature = args.temperature or scorer_temperature(scorer, collator)
    arguments = round_arguments(args, folder / "training", len(training_set), None)
    logger.info("%s: %s training queries, temperature %g.", scorer.kind, f"{len(training_set):,}", temperature)
    trainer = ScorerTrainer(scorer, arguments, collator, temperature)
    fit_to_output(trainer)
    outcome = trainer.train()
    scorer.eval()
    if not all(bool(torch.isfinite(parameter).all()) for parameter in scorer.parameters()):
        raise InputError(
            f"The training of {scorer.kind} diverged: its weights are not finite numbers. Lower the learning rate"
            f" ({args.learning_rate:g}), or check the checkpoint it started from."
        )
    target = folder / MODEL
    target.mkdir(exist_ok=True)
    scorer.save(target)
    shutil.rmtree(folder / "training", ignore_errors=True)
    write_text(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in trainer.state.log_history))
    return {
        "temperature": temperature,
        "steps": outcome.global_step,
        "training_queries": len(training_set),
        "loss": round(outcome.training_loss, 4),
    }


def contrastive_loss(scores: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """-log softmax of each query's positive over all passages of the batch that are not relevant to it too.

    Args:
        scores: shape (queries, passages), all positives first, in the order of the queries.
        labels: as `MaskedContrastiveLoss` takes them.
        temperature: scores are divided by it.
    """
    masked = relevant_elsewhere(labels, *scores.shape)
    scores = (scores.float() / temperature).masked_fill(masked, -torch.inf)
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def relevant_elsewhere(labels: Tensor, queries: int, passages: int) -> Tensor:
    """Which passages of a batch are relevant to a query without being its own positive: bool (queries, passages)."""
    keys, relevant = split_labels(labels, queries, passages)
    return contains(relevant, keys).fill_diagonal_(False)


@torch.no_grad()
def scorer_temperature(scorer: Scorer, collator: TrainingCollator) -> float:
    """The temperature under which the scores of 64 training pairs are calibrated; see `calibrated_temperature`.

    Its ceiling, how far scores of unrelated pairs lie apart, is measured on the pairs themselves.
    """
    training_set = collator.training_set
    chosen = np.random.default_rng(training_set.seed).permutation(len(training_set))[:_CALIBRATION_PAIRS].tolist()
    items = [(index, training_set[index][1][:1]) for index in chosen]
    batch = collator(items)
    training = scorer.training
    scorer.eval()
    scores = scorer(*sides_of(batch)).double().cpu()
    scorer.train(training)
    masked = relevant_elsewhere(batch["label"], *scores.shape)
    unrelated = scores[~masked & ~torch.eye(len(scores), dtype=torch.bool)]
    ceiling = max(float(unrelated.std()), 1e-6) if len(unrelated) > 1 else 1.0
    return temperature_of_scores(scores.masked_fill(masked, -torch.inf), ceiling)


def sides_of(batch: dict[str, Any]) -> tuple[Features, Features]:
    """A batch of `TrainingCollator` cut into the features of queries and passages."""
    query, passage = (
        {name.removeprefix(side): value for name, value in batch.items() if name.startswith(side)}
        for side in ("query_", "passage_")
    )
    return query, passage


class ScorerTrainer(Trainer):
    """transformers' trainer over a `TrainingSet`; order and draws depend on (seed, epoch) alone."""

    def __init__(
        self, scorer: Scorer, args: TrainingArguments, collator: TrainingCollator, temperature: float
    ) -> None:
        super().__init__(model=scorer, args=args, data_collator=collator, train_dataset=collator.training_set)
        self.sampler = EpochSampler(len(collator.training_set), args.seed)
        self.temperature = temperature
        self.add_callback(SetEpoch(self.sampler, collator.training_set))

    def get_train_dataloader(self) -> DataLoader:
        """Batches in the sampler's order."""
        batches = BatchSampler(self.sampler, self.args.train_batch_size, self.args.dataloader_drop_last)
        loader = DataLoader(self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """The contrastive loss of a batch."""
        return contrastive_loss(model(*sides_of(inputs)), inputs["label"], self.temperature)
